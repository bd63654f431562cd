import math

import pytest
import references
import torch

from art_flat import _errors, functional
from art_flat.functional import (
    gini_impurity,
    hessian_max_eigenvalue,
    hessian_trace,
    log_gini_impurity,
    log_hessian_trace,
    log_relative_sharpness,
    relative_sharpness,
)
from art_flat.functional._logits import squared_row_distances

DEFINITIONS = ["paper", "neuronwise", "unsquared"]
ALL = {
    "gini_impurity": lambda z, phi, w: gini_impurity(z),
    "log_gini_impurity": lambda z, phi, w: log_gini_impurity(z),
    "hessian_trace": lambda z, phi, w: hessian_trace(z, phi),
    "log_hessian_trace": lambda z, phi, w: log_hessian_trace(z, phi),
    "hessian_max_eigenvalue": lambda z, phi, w: hessian_max_eigenvalue(z, phi),
    **{d: lambda z, phi, w, d=d: relative_sharpness(z, phi, w, definition=d) for d in DEFINITIONS},
    **{
        "log_" + d: lambda z, phi, w, d=d: log_relative_sharpness(z, phi, w, definition=d)
        for d in DEFINITIONS
    },
}
each = pytest.mark.parametrize("name", ALL)


def head(n, k, d, *, scale=1.0, dtype=torch.float64, seed=0):
    """Logits, features and weight; every third sample has a tie, one is undecided, one has a −inf."""
    generator = torch.Generator().manual_seed(seed)
    logits, features, weight = (
        torch.randn(s, generator=generator, dtype=dtype) for s in ((n, k), (n, d), (k, d))
    )
    logits *= scale
    logits[::3, 0] = logits[::3].amax(dim=1)
    logits[1] = 7.0
    if k > 2:
        logits[2, k // 2] = -torch.inf
    return logits, features, weight


def close(actual, expected, rtol):
    torch.testing.assert_close(actual.double(), expected.double(), rtol=rtol, atol=0.0, equal_nan=True)


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

SCALES = [1, 10, 50, 200, 1000]


@pytest.mark.parametrize("k", [2, 3, 10, 100, 1000])
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
    close(kappa[seen], log_expected[seen].exp(), 1e-5)
    assert (kappa[~seen] <= 1.2e-37).all()


@pytest.mark.parametrize("naive", [lambda p: (p * (1 - p)).sum(1), lambda p: 1 - (p * p).sum(1)])
def test_obvious_forms_would_fail_that_check(naive):
    z = head(9, 10, 5, scale=50, dtype=torch.float32, seed=10)[0]
    expected = torch.stack([references.log_pair_sum(row, torch.ones(10, 10)) for row in z]).exp()
    close(gini_impurity(z), expected, 1e-5)
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
        close(relative_sharpness(z, phi, w, definition=definition), expected, 5e-7)
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


# Special values


@each
@pytest.mark.parametrize(
    "bad",
    [
        [math.nan, 0.0, 1.0],
        [0.0, 1.0, math.nan],
        [math.inf, 0.0, 1.0],
        [0, math.inf, math.inf],
        [-math.inf] * 3,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_bad_logits_give_nan_for_their_sample_only(name, bad, dtype):
    z, phi, w = head(4, 3, 2, dtype=torch.float32)
    z[2] = torch.tensor(bad)
    out = ALL[name](z.to(dtype), phi.to(dtype), w.to(dtype))
    assert torch.isnan(out).tolist() == [False, False, True, False]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_bad_logits_of_small_heads(k):
    z, phi, w = torch.full((1, k), math.nan), torch.ones(1, 2), torch.ones(k, 2)
    for function in ALL.values():
        assert torch.isnan(function(z, phi, w)).all()


@each
def test_nan_features_and_weights_give_nan(name):
    z, phi, w = head(4, 3, 2)
    with_features = ALL[name](z, phi.index_fill(0, torch.tensor([1]), math.nan), w)
    assert torch.isnan(with_features).tolist() == [False, "gini" not in name, False, False]
    if name.removeprefix("log_") in DEFINITIONS:
        assert torch.isnan(ALL[name](z, phi, w.index_fill(0, torch.tensor([0]), math.nan))).all()


@each
def test_one_finite_logit_is_certain(name):
    z, phi, w = head(3, 3, 2)
    z[1] = torch.tensor([-math.inf, 4.0, -math.inf])
    assert ALL[name](z, phi, w)[1] == (-math.inf if "log" in name else 0.0)


@each
def test_dead_features_give_zero(name):
    z, phi, w = head(5, 3, 2, scale=1000.0)
    phi[3] = 0.0
    if "gini" not in name:
        assert ALL[name](z, phi, w)[3] == (-math.inf if "log" in name else 0.0)


@each
def test_class_that_cannot_occur_is_as_if_absent(name):
    z, phi, w = head(5, 4, 2)
    with_class = torch.cat([z, torch.full((5, 1), -math.inf, dtype=z.dtype)], dim=1)
    expected = ALL[name](z, phi, w)  # a zero row does not change ‖W‖
    close(ALL[name](with_class, phi, torch.cat([w, torch.zeros(1, 2, dtype=w.dtype)])), expected, 1e-12)


@each
def test_all_equal_logits(name):
    k = 5
    z, phi, w = torch.full((1, k), 88.0), torch.tensor([[3.0, 4.0]]), torch.eye(k)[:, :2]
    g, squared_norm = 1 - 1 / k, 2.0
    expected = {
        "gini_impurity": g,
        "hessian_trace": 25 * g,
        "hessian_max_eigenvalue": 25 / k,
        "paper": 25 * g * squared_norm,
        "unsquared": 25 * g * math.sqrt(squared_norm),
        "neuronwise": 25 * 2 * (1 / k) * (1 - 1 / k),  # the variance of W's two unit columns
    }[name.removeprefix("log_")]
    assert ALL[name](z, phi, w).item() == pytest.approx(
        math.log(expected) if "log" in name else expected, rel=1e-6
    )


# Gradients


def grads(function, *tensors):
    tensors = [t.detach().requires_grad_() for t in tensors]
    return torch.autograd.grad(function(*tensors).sum(), tensors, allow_unused=True)


@each
@pytest.mark.parametrize("k", [1, 2, 4])
def test_gradients(name, k):
    z, phi, w = head(3, k, 3, seed=3)
    z[2] = torch.randn(k, generator=torch.Generator().manual_seed(1), dtype=z.dtype)
    if (
        name == "hessian_max_eigenvalue"
    ):  # of undecided samples a multiple eigenvalue, which has no derivative
        z[1] = torch.linspace(0.0, 1.0, k, dtype=z.dtype)
    for tensor in (z, phi, w):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(ALL[name], (z, phi, w))
    if name != "hessian_max_eigenvalue":
        assert torch.autograd.gradgradcheck(ALL[name], (z, phi, w))


@pytest.mark.parametrize("function", [relative_sharpness, log_relative_sharpness])
def test_gradient_in_the_weight_with_equal_rows(function):
    z, phi, w = head(3, 4, 3)
    w[1] = w[3]
    w.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: function(z, phi, w, definition="neuronwise"), (w,))


@each
def test_gradients_of_confident_samples_in_float32(name):
    generator = torch.Generator().manual_seed(0)
    z, phi, w = (
        20 * torch.randn(6, 5, generator=generator),
        torch.randn(6, 3, generator=generator),
        torch.randn(5, 3, generator=generator),
    )
    actual = grads(ALL[name], z, phi, w)
    expected = grads(ALL[name], z.double(), phi.double(), w.double())
    for a, b in zip(actual, expected, strict=True):
        if b is not None:  # each sample (or row of W) by its own size, which spans many orders
            assert ((a - b).abs() <= 2e-5 * b.abs().amax(1, keepdim=True)).all()
    logit_gradients = expected[0]
    assert (
        logit_gradients.sum(1).abs() <= 1e-10 * logit_gradients.abs().amax(1)
    ).all()  # shifting z changes nothing


def test_gradient_of_the_largest_eigenvalue_of_confident_samples():
    z = torch.tensor([[0.0, -60.0, -61.0]], dtype=torch.float64)
    phi = torch.ones(1, 1, dtype=torch.float64)
    (gradient,) = grads(lambda z: hessian_max_eigenvalue(z, phi), z)
    step = 1e-4 * torch.eye(3, dtype=torch.float64)
    expected = (
        hessian_max_eigenvalue(z + step, phi.expand(3, 1))
        - hessian_max_eigenvalue(z - step, phi.expand(3, 1))
    ) / 2e-4
    close(gradient[0], expected, 1e-6)


@pytest.mark.parametrize("name", [n for n in ALL if "log" not in n])
def test_gradients_are_finite_where_the_result_is_zero(name):
    z = torch.tensor([[0.0, -math.inf, -math.inf], [0.0, -2000.0, -math.inf], [1.0, 1.0, -3.0]])
    phi, w = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]]), torch.ones(3, 2)
    for gradient in grads(ALL[name], z, phi, w):
        assert gradient is None or torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("name", "pair_weights"), [("log_paper", [1.0, 1.0]), ("log_neuronwise", [2.0, 1.0])]
)
def test_gradient_of_log_kappa_where_kappa_underflows(name, pair_weights):
    z, phi, w = torch.tensor([[0.0, -2000.0, -2001.0]]), torch.ones(1, 2), torch.eye(3)[:, :2]
    e = torch.tensor(pair_weights) * torch.tensor([0.0, -1.0]).exp()
    expected = torch.cat([torch.tensor([-1.0]), e / e.sum()])[None]
    gradients = grads(ALL[name], z, phi, w)
    torch.testing.assert_close(gradients[0], expected)
    assert all(torch.isfinite(g).all() for g in gradients)


# Dtypes, devices, samples, classes


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_to_float32_first(name, dtype):
    z, phi, w = (t.to(dtype) for t in head(6, 5, 3, scale=3.0, dtype=torch.float32))
    phi *= 1000  # ‖φ‖² overflows float16
    out = ALL[name](z, phi, w)
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert torch.equal(out, ALL[name](z.float(), phi.float(), w.float()))


def test_result_has_the_dtype_the_inputs_promote_to():
    z, phi, w = head(2, 2, 2)
    assert hessian_trace(z.float(), phi.half()).dtype == torch.float32
    assert hessian_trace(z.float(), phi).dtype == torch.float64
    assert relative_sharpness(z.float(), phi.float(), w).dtype == torch.float64
    assert log_gini_impurity(z.bfloat16()).dtype == torch.float32


@each
def test_no_value_is_waited_for(name):
    """On the meta device there are no values: a branch on one, or a transfer, would raise."""
    z, phi, w = (t.to("meta") for t in head(3, 4, 2))
    out = ALL[name](z, phi, w)
    assert out.shape == (3,)
    assert out.device.type == "meta"


@each
def test_samples_are_independent(name):
    z, phi, w = head(40, 7, 5, scale=3.0)
    whole = ALL[name](z, phi, w)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    close(ALL[name](z[order], phi[order], w), whole[order], 1e-13)
    close(torch.cat([ALL[name](z[i : i + 1], phi[i : i + 1], w) for i in range(40)]), whole, 1e-13)
    assert ALL[name](z[:0], phi[:0], w).shape == (0,)


@each
def test_order_of_classes_does_not_matter(name):
    z, phi, w = head(20, 6, 5, scale=3.0)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    close(ALL[name](z[:, order], phi, w[order]), ALL[name](z, phi, w), 1e-12)
    close(ALL[name](z + 1.0, phi, w), ALL[name](z, phi, w), 1e-12)


def test_inputs_are_left_alone():
    tensors = head(6, 4, 3)
    copies = [t.clone() for t in tensors]
    for function in ALL.values():
        function(*tensors)
    assert all(torch.equal(a, b) for a, b in zip(tensors, copies, strict=True))


def test_invariances():
    z, phi, w = head(20, 6, 5)
    shifted = w + torch.randn(1, 5, generator=torch.Generator().manual_seed(0), dtype=w.dtype)
    for definition, rescaling, shift in (
        ("neuronwise", 1.0, True),
        ("paper", 1.0, False),
        ("unsquared", 10.0, False),
    ):
        kappa = relative_sharpness(z, phi, w, definition=definition)
        close(relative_sharpness(z, 10 * phi, w / 10, definition=definition), rescaling * kappa, 1e-12)
        moved = relative_sharpness(z, phi, shifted, definition=definition)
        assert torch.allclose(moved, kappa, rtol=1e-12, atol=0.0) is shift


@pytest.mark.parametrize("function", [relative_sharpness, log_relative_sharpness])
def test_row_distances_can_be_kept(function):
    z, phi, w = head(6, 5, 3)
    kept = squared_row_distances(w)
    once = function(z, phi, w, definition="neuronwise")
    assert torch.equal(function(z, phi, w, definition="neuronwise", row_distances=kept), once)
    assert not torch.equal(function(z, phi, w, definition="neuronwise", row_distances=4 * kept), once)


# Errors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logits": torch.zeros(3)}, r"`logits` must have shape \(n, k\), got \(3,\)"),
        ({"logits": torch.zeros(3, 0)}, r"`logits` must have shape \(n, k\), got \(3, 0\)"),
        (
            {"logits": torch.zeros(3, 4, dtype=torch.int64)},
            r"floating dtype, got torch.int64; pass logits.float\(\)",
        ),
        ({"logits": [[0.0]]}, r"`logits` must be a torch.Tensor, got list; pass torch.as_tensor\(logits\)"),
        ({"features": torch.zeros(2, 5)}, "3 samples and `features` 2; pass one row of each per sample"),
        ({"features": torch.zeros(3, 5, 1)}, r"`features` must have shape \(n, d\)"),
        (
            {"features": torch.zeros(3, 6)},
            "`features` has 6 columns and `weight` 5; pass the input of the layer",
        ),
        ({"features": torch.zeros(3, 5, device="meta")}, "`features` is on meta, `logits` on cpu; move both"),
        ({"weight": torch.zeros(5, 4)}, "4 classes and `weight` 5 rows; pass the weight"),
        ({"definition": "petzka"}, "unknown definition of relative sharpness 'petzka': did you mean"),
    ],
)
@pytest.mark.parametrize("function", [relative_sharpness, log_relative_sharpness])
def test_errors(function, change, words):
    arguments = {
        "logits": torch.zeros(3, 4),
        "features": torch.zeros(3, 5),
        "weight": torch.zeros(4, 5),
    } | change
    with pytest.raises(_errors.InputError, match=words):
        function(**arguments)


@pytest.mark.parametrize("function", [hessian_trace, log_hessian_trace, hessian_max_eigenvalue])
def test_errors_without_weight(function):
    with pytest.raises(_errors.InputError, match="3 samples and `features` 2"):
        function(torch.zeros(3, 4), torch.zeros(2, 5))
    with pytest.raises(_errors.InputError, match="`logits` must have shape"):
        gini_impurity(torch.zeros(4))
    with pytest.raises(_errors.InputError, match="`logits` must have shape"):
        log_gini_impurity(torch.zeros(4))


def test_public_names_are_all_there():
    assert len(set(functional.__all__)) == len(functional.__all__)
    assert all(callable(getattr(functional, name)) for name in functional.__all__)
