"""What float32 puts outside a ball is projected into it; what lies farther out is left alone."""

import numpy as np
import pytest
import torch

from art_flat.functional import snap_into_balls

ORDERS = {"Linf": np.inf, "L2": 2, "L1": 1, "L0": 0}
DTYPES = [torch.float32, torch.float64]


def lengths(x, x_adv, norm):
    """Independent: NumPy's norms of float64 differences."""
    shift = x_adv.double().numpy() - x.double().numpy()
    return np.linalg.norm(shift.reshape(len(shift), -1), ord=ORDERS[norm], axis=1)


def at_length(norm, delta, n=40, d=50, dtype=torch.float32, scale=1.0, low=0.0):
    """Points that float32 arithmetic is meant to put at distance δ, some after a detour through [0, 1]."""
    generator = torch.Generator().manual_seed(int(1000 * delta) + d)
    x = (torch.rand(n, d, generator=generator) * scale + low).to(dtype)
    shift = torch.randn(n, d, generator=generator)
    if norm == "Linf":
        shift = shift.sign()
    if norm == "L0":
        shift = torch.where(torch.arange(d) < delta, shift, 0)
    length = torch.linalg.vector_norm(shift, ord=ORDERS[norm], dim=1, keepdim=True)
    size = scale if norm == "L0" else delta / length
    there = ((x.float() - low) / scale + shift * size / scale) * scale + low
    return x, there.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("scale", "low"), [(1.0, 0.0), (255.0, 0.0), (4.8, -2.2)])
@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("delta", [8 / 255, 0.1, 1.0])
def test_points_at_the_radius_are_inside(norm, delta, scale, low, dtype):
    delta = delta * scale * {"Linf": 1, "L2": 4, "L1": 16}[norm]
    x, x_adv = at_length(norm, delta, dtype=dtype, scale=scale, low=low)
    if norm == "Linf" and scale == 255:
        assert (lengths(x, x_adv, norm) > delta).any()  # rounding did put some outside
    snapped, measured = snap_into_balls(x, x_adv, [(norm, delta)])
    assert snapped.dtype == dtype
    assert (lengths(x, snapped, norm) <= delta).all()
    assert (snapped - x_adv).abs().max() <= 3e-4 * delta + 16 * 2**-23 * (scale + delta)
    for each, length in measured.items():
        np.testing.assert_allclose(length.numpy(), lengths(x, snapped, each), rtol=1e-12)
    inside = torch.from_numpy(lengths(x, x_adv, norm) <= delta)
    assert torch.equal(snapped[inside], x_adv[inside])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("beyond", [1e-3, 0.1, 3.0])
def test_points_outside_are_left_alone(norm, beyond, dtype):
    x, x_adv = at_length(norm, 1 + beyond, dtype=dtype)
    snapped, measured = snap_into_balls(x, x_adv, [(norm, 1.0)])
    assert torch.equal(snapped, x_adv)
    assert (measured[norm] > 1).all()


def test_changes_by_rounding_are_not_counted_in_l0():
    x, x_adv = at_length("L0", 3, scale=255.0)
    x_adv = torch.where(x_adv == x, x * (1 + 2 * 2**-23), x_adv)
    assert (lengths(x, x_adv, "L0") > 3).all()
    snapped, measured = snap_into_balls(x, x_adv, [("L0", 3.0)])
    assert (measured["L0"] <= 3).all()
    assert torch.equal(snapped[:, :3], x_adv[:, :3])
    assert (snap_into_balls(x, x_adv, [("L0", 2.0)])[1]["L0"] > 2).all()  # three elements were changed


def test_one_ball_takes_a_point_out_of_no_other():
    x = torch.full((1, 16), 0.3)
    x_adv = x + 0.1
    balls = [("L2", 0.4), ("Linf", 0.1), ("L1", 1.6), ("Linf", 0.05)]
    for order in (balls, balls[::-1]):
        snapped, measured = snap_into_balls(x, x_adv, order)
        assert measured["Linf"] <= 0.1
        assert measured["L2"] <= 0.4
        assert measured["L1"] <= 1.6
        torch.testing.assert_close(snapped, x_adv, rtol=1e-5, atol=0)


def test_a_sample_is_treated_alike_in_any_batch():
    x, x_adv = at_length("Linf", 0.1, d=20)
    x[0] *= 1e4  # what rounding moves there is more than δ; of the others it is not
    whole, _ = snap_into_balls(x, x_adv, [("Linf", 0.1)])
    single = [snap_into_balls(a[None], b[None], [("Linf", 0.1)])[0] for a, b in zip(x, x_adv, strict=True)]
    assert torch.equal(whole, torch.cat(single))
