import math

import pytest
import references
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import close, near

from art_flat.errors import InputError, ParameterError, UnknownNameError
from art_flat.functional import distance, project

NORMS = ["Linf", "L2", "L1", "L0"]
each_norm = pytest.mark.parametrize("norm", NORMS)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def points(shape=(6, 3, 4, 4), *, change=0.3, dtype=torch.float32, seed=0):
    """Images in [0, 1] and changed ones; sample 0 is not changed, and half of all elements are not."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    step = change * torch.randn(shape, generator=generator, dtype=torch.float64)
    step = step * (torch.rand(shape, generator=generator) < 0.5)
    step[0] = 0.0
    return x.to(dtype), (x + step).clamp(0, 1).to(dtype)


def same_bits(a, b):
    return a.dtype == b.dtype and torch.equal(a, b) and torch.equal(a.signbit(), b.signbit())


# distance


@each_norm
@pytest.mark.parametrize("dtype", DTYPES)
def test_distance(norm, dtype):
    x, x_adv = points(dtype=dtype)
    expected = [references.distance(a, b, norm) for a, b in zip(x, x_adv, strict=True)]
    actual = distance(x, x_adv, norm)
    assert actual.dtype == torch.float64
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0.0)
    assert actual[0] == 0.0
    assert torch.equal(distance(x_adv, x, norm), actual)
    alone = torch.cat([distance(x[i : i + 1], x_adv[i : i + 1], norm) for i in range(6)])
    torch.testing.assert_close(actual, alone, rtol=1e-14, atol=0.0)


def test_distance_counts_changes_that_float32_would_round_away():
    x, x_adv = torch.tensor([[16777216.0, 0.0]]), torch.tensor([[1.0, 1e-30]])
    assert distance(x, x_adv, "Linf") == 16777215.0
    assert distance(x, x_adv, "L0") == 2
    assert distance(torch.zeros(1, 1), torch.tensor([[1e-30]]), "L2").item() == near(1e-30, "value", scale=0)
    assert torch.tensor([1e-30]).square().sum().sqrt() == 0.0


@pytest.mark.parametrize(("alias", "norm"), [(math.inf, "Linf"), (2, "L2"), ("l1", "L1"), ("0", "L0")])
def test_norms_by_other_names(alias, norm):
    x, x_adv = points()
    assert torch.equal(distance(x, x_adv, alias), distance(x, x_adv, norm))
    assert torch.equal(project(x, x_adv, 1.0, alias), project(x, x_adv, 1.0, norm))


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_distance_has_gradients(norm):
    x, x_adv = (t.flatten(1)[1:4, :6].clone().requires_grad_() for t in points(dtype=torch.float64))
    x_adv = (x + 0.1 + torch.linspace(0, 1, 18, dtype=torch.float64).reshape(3, 6)).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: distance(a, b, norm), (x, x_adv))


@each_norm
def test_nan_stays_visible(norm):
    x, x_adv = points()
    x_adv[2, 0, 0, 0] = math.nan
    delta = 1 if norm == "L0" else 0.01
    assert torch.isnan(project(x, x_adv, delta, norm)[2]).any()
    assert not torch.isnan(project(x, x_adv, delta, norm)[3]).any()
    if norm != "L0":
        assert torch.isnan(distance(x, x_adv, norm)).tolist() == [False, False, True, False, False, False]


# project


@each_norm
@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    delta=st.one_of(st.sampled_from([8 / 255, 0.1, 0.5, 1.0, 3.0]), st.floats(1e-9, 30.0)),
    change=st.sampled_from([1e-3, 0.1, 1.0, 1e4]),
    seed=st.integers(0, 2**20),
)
def test_projected_points_lie_in_the_ball(norm, dtype, delta, change, seed):
    x, x_adv = points(change=change, dtype=dtype, seed=seed)
    before = x.clone(), x_adv.clone()
    result = project(x, x_adv, delta, norm)
    assert result.shape == x.shape
    assert result.dtype == dtype
    assert (distance(x, result, norm) <= delta).all()
    assert all(references.distance(a, b, norm) <= delta for a, b in zip(x, result, strict=True))
    inside = distance(x, x_adv, norm) <= delta
    assert same_bits(result[inside], x_adv[inside])
    low, high = torch.minimum(x, x_adv), torch.maximum(x, x_adv)
    assert ((result >= low) & (result <= high)).all()
    assert same_bits(project(x, result, delta, norm), result)
    assert same_bits(x, before[0])
    assert same_bits(x_adv, before[1])


@each_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(4, 20), (3, 3, 224, 224)])
def test_projected_points_are_the_nearest(norm, dtype, shape):
    delta = {"Linf": 8 / 255, "L2": 0.5, "L1": 1.0, "L0": 3.7}[norm]
    x, x_adv = points(shape, dtype=dtype)
    difference = (x_adv.double() - x.double()).flatten(1)
    moved = (project(x, x_adv, delta, norm).double() - x.double()).flatten(1)
    for d, m in zip(difference[1:], moved[1:], strict=True):
        if norm == "Linf":
            expected = d.clamp(-delta, delta)
        elif norm == "L2":
            expected = d * delta / d.square().sum().sqrt()
        elif norm == "L1":
            expected = references.project_l1(d, delta)
        else:
            expected = torch.where(d.abs() >= d.abs().sort(descending=True).values[2], d, 0.0)
        tolerance = close("value", dtype) if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
        torch.testing.assert_close(m, expected, **tolerance)
    assert (
        distance(x, x + moved.reshape(shape).to(dtype), norm)[1:] > 0.9 * (3 if norm == "L0" else delta)
    ).all()


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_clamping_alone_would_leave_the_ball(dtype):
    x, x_adv = points((50, 100), change=1.0, dtype=dtype)
    delta = 8 / 255
    clamped = x + (x_adv - x).clamp(-delta, delta)
    assert (distance(x, clamped, "Linf") > delta).any()
    projected = project(x, x_adv, delta, "Linf")
    assert (distance(x, projected, "Linf") <= delta).all()
    assert (clamped - projected).abs().max() <= 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_within_a_cube_are_kept_to_the_bit(dtype):
    x, x_adv = (0.7 * t for t in points((50, 100), change=1.0, dtype=dtype))  # all digits in use
    result = project(x, x_adv, 0.5, "Linf")
    near = (x_adv.double() - x.double()).abs() <= 0.5
    assert (result != x_adv).any()
    assert same_bits(result[near], x_adv[near])
    if dtype == torch.float64:
        assert (x + (x_adv - x) != x_adv)[near].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_scaling_alone_would_leave_the_ball(norm, dtype):
    x, x_adv = points((200, 50), change=1.0, dtype=dtype)
    step = x_adv - x
    length = torch.linalg.vector_norm(step, ord=float(norm[1]), dim=1, keepdim=True)
    scaled = x + step * (0.5 / length).clamp_max(1.0)
    assert (distance(x, scaled, norm)[1:] > 0.5).any()
    projected = distance(x, project(x, x_adv, 0.5, norm), norm)
    assert (projected <= 0.5).all()
    assert (projected[1:] > 0.5 - 1e-5).all()


def test_l0_keeps_the_largest_changes_to_the_bit():
    x = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 0.0]])
    x_adv = torch.tensor([[0.15, 0.9, 0.3, 0.0], [-0.0, 0.0, 0.0, 1.0]])
    assert torch.equal(project(x, x_adv, 2, "L0")[0], torch.tensor([0.1, 0.9, 0.3, 0.0]))
    assert same_bits(project(x, x_adv, 2.9, "L0")[1], x_adv[1])
    assert torch.equal(project(x, x_adv, 0.5, "L0"), x)
    assert torch.equal(project(x, x_adv, 100, "L0"), x_adv)


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_far_beyond_what_float64_resolves(norm):
    x, x_adv = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[1e16, 1.0]], dtype=torch.float64)
    assert distance(x, project(x, x_adv, 1e-3, norm), norm) <= 1e-3


@each_norm
def test_project_is_outside_the_graph(norm):
    x, x_adv = points()
    assert not project(x, x_adv.requires_grad_(), 0.01, norm).requires_grad


# Errors


def test_errors():
    x = torch.zeros(3, 2)
    for function in (lambda a, b: distance(a, b, "L2"), lambda a, b: project(a, b, 1.0, "L2")):
        with pytest.raises(
            InputError, match=r"`x` has shape \(3, 2\) and `x_adv` \(2, 2\); both must have one shape"
        ):
            function(x, torch.zeros(2, 2))
        with pytest.raises(InputError, match=r"must have one shape \(n, ...\)"):
            function(torch.zeros(3), torch.zeros(3))
        with pytest.raises(InputError, match="`x` is on cpu, `x_adv` on meta; move both"):
            function(x, x.to("meta"))
    with pytest.raises(UnknownNameError, match="unknown norm 'L3'"):
        distance(x, x, "L3")
    with pytest.raises(InputError, match=r"`x` is torch.float32 and `x_adv` torch.float64; pass both in one"):
        project(x, x.double(), 1.0, "L2")
    with pytest.raises(InputError, match="in one floating dtype"):
        project(x.long(), x.long(), 1.0, "L2")
    for delta in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="`delta` must be"):
            project(x, x, delta, "L2")
    with pytest.raises(ParameterError, match="the radius is `delta`"):
        project(x, x, eps=0.1, norm="L2")
