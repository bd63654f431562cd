"""The directional bound where its parts matter: many classes, any direction, samples too far for it."""

import pytest
import torch
from bounds_cases import head, worst_case

from art_flat.functional import feature_radius, loss_increase_bound
from art_flat.functional._directional import _corners, corner_bound
from art_flat.functional._increase import Samples, head_geometry


def bound(case, t, kind="directional"):
    return loss_increase_bound(*case, radius=t, kind=kind)


@pytest.mark.parametrize("k", [17, 40, 120])
def test_with_more_classes_than_are_looked_at(k):
    case = head(60, k, 12, seed=k, scale=2.0)
    t = 10 ** (3 * torch.rand(60, generator=torch.Generator().manual_seed(k), dtype=torch.float64) - 2)
    found, chord = worst_case(case[0], case[2], case[3], t, steps=16), bound(case, t, "chord")
    assert (bound(case, t) >= found * (1 - 1e-12)).all()
    assert (bound(case, t) <= chord).all()
    assert (bound(case, t) < chord * 0.999).double().mean() > 0.3


def test_sound_whatever_the_direction():
    """The direction only decides how tight the bound is."""
    logits, features, weight, labels = head(400, 5, 4, scale=3.0)
    t = torch.logspace(-3, 1, 400, dtype=torch.float64)
    found = worst_case(logits, weight, labels, t, steps=16)
    samples = Samples(logits, features, labels, head_geometry(weight))

    def any_direction(log_p, products, radius):
        return torch.rand(log_p.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    tight, loose = corner_bound(samples, t), corner_bound(samples, t, any_direction)
    for value in (tight, loose):
        assert (value >= found * (1 - 1e-12)).all()
    assert torch.isfinite(loose).all()
    assert loose.median() > tight.median()


def test_the_corners_enclose_the_half_disc():
    corners = torch.tensor(_corners(), dtype=torch.float64)
    angles = torch.linspace(0, torch.pi, 2001, dtype=torch.float64)
    arc = torch.stack([angles.cos(), angles.sin()], dim=1)
    mirrored = torch.cat([corners, corners.flip(0) * torch.tensor([1.0, -1.0])])
    edges = mirrored.roll(-1, 0) - mirrored
    normals = torch.stack([edges[:, 1], -edges[:, 0]], dim=1)  # outwards, as the corners go anticlockwise
    beyond = (arc[:, None] - mirrored) @ normals.T.unsqueeze(0)
    assert (torch.diagonal(beyond, dim1=1, dim2=2) < 0).all()


def test_samples_too_far_for_it_have_the_chord_and_leave_the_others_alone():
    case = head(20, 4, 3)
    t = torch.full((20,), 0.5, dtype=torch.float64)
    near = bound(case, t)
    t[::3] = 1e6
    mixed = bound(case, t)
    assert torch.equal(mixed[::3], bound(case, t, "chord")[::3])
    others = torch.arange(20) % 3 != 0
    torch.testing.assert_close(mixed[others], near[others], rtol=1e-9, atol=0.0)


def test_opposite_and_equal_rows():
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    logits = torch.tensor([[3.0, 0.0, 0.0, 0.0, 1.0]], dtype=torch.float64).expand(30, 5)
    case = logits, torch.ones(30, 2, dtype=torch.float64), weight, torch.zeros(30, dtype=torch.int64)
    t = torch.logspace(-6, 2, 30, dtype=torch.float64)
    found = worst_case(case[0], case[2], case[3], t, steps=16)
    assert (bound(case, t) >= found * (1 - 1e-12)).all()
    torch.testing.assert_close(bound(case, t), found, rtol=1e-2, atol=0.0)


def test_the_radius_is_at_least_the_chords_and_nearly_the_true_one():
    case = head(150, 6, 8, scale=2.0)
    radius, chord = (feature_radius(*case, epsilon=0.7, kind=kind) for kind in ("directional", "chord"))
    assert (radius >= chord).all()
    assert (radius > chord * 1.02).double().mean() > 0.3
    reached = worst_case(case[0], case[2], case[3], radius * 1.005, steps=40) > 0.7
    assert reached.double().mean() > 0.7
