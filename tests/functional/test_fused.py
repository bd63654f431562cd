"""The pass through the cache against the general formula, and when it is left."""

import pytest
import torch
from tolerances import rounding

from art_flat.functional import _fused, hessian_trace, relative_sharpness

FLOAT32 = rounding("head")


def case(n=500, k=100, d=32, scale=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(k)
    logits = torch.randn(n, k, generator=generator) * scale
    return logits.to(dtype), torch.randn(n, d, generator=generator).to(dtype)


def exact(logits, features):
    return hessian_trace(logits.double(), features.double())


@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0, 20.0, 100.0, 1000.0])
@pytest.mark.parametrize("k", [64, 1000])
def test_equals_float64_on_the_same_logits(k, scale):
    logits, features = case(k=k, scale=scale)
    assert _fused.fits(logits, features)
    expected = exact(logits, features)
    seen = hessian_trace(logits, features).double()
    large = expected > 1e-37
    assert large.any()
    torch.testing.assert_close(seen[large], expected[large], rtol=FLOAT32, atol=0)
    assert (seen[~large] <= 1e-36).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_to_float32(dtype):
    logits, features = case(scale=3.0, dtype=dtype)
    torch.testing.assert_close(
        hessian_trace(logits, features).double(), exact(logits, features), rtol=FLOAT32, atol=0
    )


def test_top_probability_on_both_sides_of_the_threshold():
    p = torch.linspace(0.5, 0.7, 401, dtype=torch.float64)
    rest = torch.log((1 - p) / 99)[:, None].expand(-1, 99)
    logits = torch.cat([p.log()[:, None], rest], dim=1).float()
    features = torch.ones(len(p), 4)
    torch.testing.assert_close(
        hessian_trace(logits, features).double(), exact(logits, features), rtol=FLOAT32, atol=0
    )


def test_ties_nan_infinities_and_extreme_features():
    logits, features = case(n=8, d=16)
    logits[0] = 0.0
    logits[1, :2] = 50.0
    logits[2, 3] = torch.nan
    logits[3, 3] = torch.inf
    logits[4, 1:] = -torch.inf
    logits[5] = -torch.inf
    features[6], features[7] = 1e-25, 0.0
    seen, expected = hessian_trace(logits, features), exact(logits, features)
    torch.testing.assert_close(seen.double(), expected, rtol=FLOAT32, atol=1e-37, equal_nan=True)
    assert torch.isnan(seen[[2, 3, 5]]).all()
    assert seen[4] == 0
    assert seen[7] == 0


def test_long_and_constant_features():
    logits = case(n=4, k=64)[0]
    features = torch.full((4, 100_000), 0.1)
    torch.testing.assert_close(
        hessian_trace(logits, features).double(), exact(logits, features), rtol=FLOAT32, atol=0
    )


def test_every_sample_is_treated_as_if_it_were_alone():
    """Of many samples, more than are looked at together; in parts they have the same values, to the last bit."""
    logits, features = case(n=25_000)
    whole = hessian_trace(logits, features)
    parts = [hessian_trace(*part) for part in zip(logits.split(700), features.split(700), strict=True)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(hessian_trace(logits[5:6], features[5:6]), whole[5:6])


def test_left_where_gradients_or_transforms_are_asked_for():
    logits, features = case(n=6)
    weight = torch.randn(100, 32)
    kappa = relative_sharpness(logits.requires_grad_(), features, weight)
    kappa.sum().backward()
    assert logits.grad.abs().sum() > 0
    logits = logits.detach()
    one = torch.func.vmap(lambda z, f: relative_sharpness(z[None], f[None], weight)[0])(logits, features)
    torch.testing.assert_close(one, kappa.detach(), rtol=FLOAT32, atol=0)
    assert not _fused.fits(logits.double(), features.double())
    assert not _fused.fits(logits[:, :10], features)
