import math

import pytest
import references
import torch
from sampling import slow
from sharpness_cases import ALL, DEFINITIONS, SCALES, close, head
from tolerances import rounding

from art_flat.functional import (
    gini_impurity,
    hessian_max_eigenvalue,
    hessian_trace,
    log_relative_sharpness,
    relative_sharpness,
)
from art_flat.functional._logits import squared_row_distances

# The Hessian


@pytest.mark.parametrize(("k", "d"), [(2, 3), (3, 4), (5, 2)])
def test_all_follow_from_the_exact_hessian(k, d):
    generator = torch.Generator().manual_seed(k)
    features = torch.randn(6, d, generator=generator, dtype=torch.float64)
    weight = torch.randn(k, d, generator=generator, dtype=torch.float64)
    bias = torch.randn(k, generator=generator, dtype=torch.float64)
    logits = features @ weight.T + bias
    squared_norm = weight.square().sum()
    for label in range(k):  # H does not depend on the label
        h = torch.stack([references.weight_hessian(phi, weight, bias, label) for phi in features])
        trace = torch.einsum("nsisi->n", h)
        close(hessian_trace(logits, features), trace, 1e-10)
        close(relative_sharpness(logits, features, weight), squared_norm * trace, 1e-10)
        close(
            relative_sharpness(logits, features, weight, definition="unsquared"),
            squared_norm.sqrt() * trace,
            1e-10,
        )
        neuronwise = torch.einsum("nsiti,sj,tj->n", h, weight, weight)
        close(relative_sharpness(logits, features, weight, definition="neuronwise"), neuronwise, 1e-10)
        close(
            hessian_max_eigenvalue(logits, features),
            torch.linalg.eigvalsh(h.reshape(6, k * d, k * d))[:, -1],
            1e-10,
        )


def test_logistic_head_is_the_pair_of_rows():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    weight = torch.randn(1, 3, generator=generator, dtype=torch.float64)
    logits = features @ weight.T + 0.3
    h = torch.stack([references.logistic_hessian(phi, weight[0], 0.3, 1) for phi in features])
    trace, squared_norm = torch.einsum("nii->n", h), weight.square().sum()
    close(relative_sharpness(logits, features, weight), squared_norm * trace, 1e-10)
    close(relative_sharpness(logits, features, weight, definition="neuronwise"), squared_norm * trace, 1e-10)
    close(hessian_trace(logits, features), 2 * trace, 1e-10)
    close(hessian_max_eigenvalue(logits, features), 2 * torch.linalg.eigvalsh(h)[:, -1], 1e-10)
    pair = torch.cat([-logits / 2, logits / 2], dim=1), features, torch.cat([-weight / 2, weight / 2])
    for function in ALL.values():
        close(function(logits, features, weight), function(*pair), 1e-14)


# Accuracy in float32


@pytest.mark.parametrize("k", [2, slow(3), 10, slow(100), 1000])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_float32_is_accurate(k, scale, definition):
    z, phi, w = head(9 if k < 1000 else 4, k, 5, scale=scale, dtype=torch.float32, seed=k)
    phi, w = 30 * phi, 30 * w
    log_expected = references.log_relative_sharpness(z, phi, w, definition)
    log_kappa = log_relative_sharpness(z, phi, w, definition=definition)
    assert log_kappa.dtype == torch.float32
    assert torch.isfinite(log_kappa).all()
    assert ((log_kappa - log_expected).abs() <= 1e-5 * log_expected.abs().clamp_min(1.0)).all()
    kappa = relative_sharpness(z, phi, w, definition=definition)
    assert kappa.dtype == torch.float32
    seen = log_expected > math.log(1e-37)
    assert seen[1]
    close(kappa[seen], log_expected[seen].exp(), rounding("head"))
    assert (kappa[~seen] <= 1.2e-37).all()


@pytest.mark.parametrize("naive", [lambda p: (p * (1 - p)).sum(1), lambda p: 1 - (p * p).sum(1)])
def test_obvious_forms_would_fail_that_check(naive):
    z = head(9, 10, 5, scale=50, dtype=torch.float32, seed=10)[0]
    expected = torch.stack([references.log_pair_sum(row, torch.ones(10, 10)) for row in z]).exp()
    close(gini_impurity(z), expected, rounding("head"))
    wrong = (naive(z.softmax(1)) - expected).abs() / expected
    assert wrong.max() > 0.05


def test_kappa_where_the_impurity_underflows_float32():
    z = torch.tensor([[0.1, -100.0, -103.0, -180.0]])
    phi, w = (
        torch.full((1, 4), 3e4),
        torch.tensor([[1e4, 0.0], [0.0, 2.0], [5.0, 0.0], [0.0, 0.0]]).repeat(1, 2),
    )
    assert gini_impurity(z) < 1e-40
    for definition in DEFINITIONS:
        expected = references.log_relative_sharpness(z, phi, w, definition).exp()
        assert expected > 1e-37
        close(relative_sharpness(z, phi, w, definition=definition), expected, rounding("value"))
    naive = w.square().sum() * phi.square().sum(1) * gini_impurity(z)
    assert (naive / references.log_relative_sharpness(z, phi, w, "paper").exp() - 1).abs() > 1e-5


@pytest.mark.parametrize("rows", [[0, 0, 1], [0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1, 2]])
@pytest.mark.parametrize("step", [0.0, 3.0, 90.0, 345.0, 352.0, 356.0, 800.0, 5000.0])
def test_neuronwise_with_equal_rows_far_apart_in_probability(rows, step):
    """Where the top classes share a row, κ is made by classes whose p underflows, even in float64."""
    distinct = torch.tensor([[3.0, -1.0], [0.5, 2.0], [-4.0, 0.25]], dtype=torch.float64)
    w = distinct[rows]
    z = -step * torch.arange(len(rows), dtype=torch.float64)[None]
    z[:, :2] = 0.0
    phi = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    expected = references.log_relative_sharpness(z, phi, w, "neuronwise")
    actual = log_relative_sharpness(z, phi, w, definition="neuronwise")
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    if rows == [0, 0, 1] and step > 400:
        p = z.softmax(1)[0]
        assert torch.einsum("s,t,st->", p, p, references.row_distances(w)) == 0


def test_row_distances_do_not_cancel():
    w = 1e4 + torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float32)
    expected = torch.tensor([[0.0, 2, 2], [2, 0, 0], [2, 0, 0]], dtype=torch.float64)
    close(squared_row_distances(w), expected, 1e-14)
    gram = w @ w.T
    assert (gram.diag()[:, None] + gram.diag() - 2 * gram - expected).abs().max() > 0.1


# The largest eigenvalue


@pytest.mark.parametrize("k", [2, 3, 10, 50])
@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-6, 1e-2, 1.0, 4.0])
def test_largest_eigenvalue(k, scale):
    z = head(12, k, 1, seed=k)[0] * scale if scale else torch.zeros(12, k, dtype=torch.float64)
    z = z.nan_to_num(neginf=-40.0, nan=-40.0)
    expected = references.max_eigenvalue(z)
    actual = hessian_max_eigenvalue(z, torch.ones(12, 1, dtype=torch.float64))
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [2, 3, 100])
@pytest.mark.parametrize("scale", SCALES)
def test_largest_eigenvalue_lies_between_its_bounds(k, scale, dtype):
    z, phi, _ = head(30, k, 3, scale=scale, dtype=dtype)
    p_others = (z.double() - z.double().amax(1, keepdim=True)).exp()
    rest = p_others.scatter(1, z.argmax(1, keepdim=True), 0.0).sum(1)
    lower = phi.double().square().sum(1) * rest / (1 + rest).square()
    actual = hessian_max_eigenvalue(z, phi).double()
    slack = 4 * torch.finfo(dtype).eps
    seen = lower > 1e-37
    assert seen.sum() >= 5
    assert (actual >= lower * (1 - slack))[seen].all()
    assert (actual <= 2 * lower * (1 + slack))[seen].all()


def test_largest_eigenvalue_of_confident_predictions():
    """p = (1, t, st) with t → 0: diag p − p pᵀ becomes t times the Laplacian of a star, weights 1 and s."""
    t, s = math.exp(-60.0), math.exp(-1.0)
    laplacian = torch.tensor([[1 + s, -1, -s], [-1, 1, 0], [-s, 0, s]], dtype=torch.float64)
    expected = t * torch.linalg.eigvalsh(laplacian)[-1:]
    z = torch.tensor([[0.0, -60.0, -61.0]], dtype=torch.float64)
    close(hessian_max_eigenvalue(z, torch.ones(1, 1, dtype=torch.float64)), expected, 1e-10)
    assert (references.max_eigenvalue(z) / expected - 1).abs() > 0.01  # from softmax, in float64
