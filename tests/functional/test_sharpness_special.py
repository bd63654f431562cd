import math

import pytest
import torch
from sharpness_cases import ALL, DEFINITIONS, close, each, head
from tolerances import rounding

from art_flat import errors, functional
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
        math.log(expected) if "log" in name else expected, rel=rounding("head")
    )


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
    with pytest.raises(errors.InputError, match=words):
        function(**arguments)


@pytest.mark.parametrize("function", [hessian_trace, log_hessian_trace, hessian_max_eigenvalue])
def test_errors_without_weight(function):
    with pytest.raises(errors.InputError, match="3 samples and `features` 2"):
        function(torch.zeros(3, 4), torch.zeros(2, 5))
    with pytest.raises(errors.InputError, match="`logits` must have shape"):
        gini_impurity(torch.zeros(4))
    with pytest.raises(errors.InputError, match="`logits` must have shape"):
        log_gini_impurity(torch.zeros(4))


def test_public_names_are_all_there():
    assert len(set(functional.__all__)) == len(functional.__all__)
    assert all(getattr(functional, name) is not None for name in functional.__all__)
