"""Points rounded to the values of an image file: on the grid, in the ball, away from the clean one."""

import numpy as np
import pytest
import torch

import art_flat as af
from art_flat.errors import InputError
from art_flat.functional import distance, round_to_levels
from art_flat.functional.distance import project

RNG = np.random.default_rng(0)
NORMS = ["Linf", "L2", "L1", "L0"]


def case(norm, levels, low, high, n=40, d=12):
    """Clean points on the grid, points in balls around them, and the radius."""
    spacing = (high - low) / (levels - 1)
    x = torch.tensor(low + RNG.integers(0, levels, (n, d)) * spacing, dtype=torch.float32)
    delta = {"Linf": 2.6 * spacing, "L2": 5.3 * spacing, "L1": 9.7 * spacing, "L0": 4}[norm]
    moved = x + torch.tensor(RNG.normal(size=(n, d)) * 3 * spacing, dtype=torch.float32)
    moved = project(x, moved, delta, norm)
    return x, torch.clamp(moved, low, high), delta, spacing


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("levels", "low", "high"), [(256, 0.0, 1.0), (256, 0.0, 255.0), (17, -1.0, 1.0), (2, 0.0, 1.0)]
)
def test_on_the_grid_and_in_the_ball(norm, levels, low, high):
    x, moved, delta, spacing = case(norm, levels, low, high)
    bounds = {"low": torch.tensor(low), "high": torch.tensor(high)}
    found = round_to_levels(x, moved, levels=levels, delta=delta, norm=norm, **bounds)
    index = (found.double() - low) / spacing
    torch.testing.assert_close(index, index.round(), rtol=0, atol=1e-3)
    assert ((found >= low) & (found <= high)).all()
    assert (distance(x, found, norm) <= delta * (1 + 1e-5)).all()
    assert ((found - moved).abs() < spacing * (1 + 1e-5)).all()
    assert (found[moved == x] == x[moved == x]).all()
    again = round_to_levels(x, found, levels=levels, delta=delta, norm=norm, **bounds)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-6 * high)


@pytest.mark.parametrize("norm", NORMS)
def test_away_wherever_it_fits(norm):
    """The element that moves least by it could not go the other way instead: it would leave the ball."""
    x, moved, delta, spacing = case(norm, 256, 0.0, 1.0)
    bounds = {"low": torch.tensor(0.0), "high": torch.tensor(1.0)}
    found = round_to_levels(x, moved, levels=256, delta=delta, norm=norm, **bounds)
    steps = (moved - x).abs() / spacing
    missing = torch.ceil(steps) - steps  # up to the value farther away
    missing[((found - x).abs() >= (moved - x).abs()) | (missing < 1e-3) | (missing > 1 - 1e-3)] = 2
    for i in (missing.amin(dim=1) < 2).nonzero()[:, 0].tolist():
        other, j = found[i : i + 1].clone(), int(missing[i].argmin())
        value = float(x[i, j] + (moved[i, j] - x[i, j]).sign() * spacing * torch.ceil(steps[i, j]))
        other[0, j] = value
        assert not 0 <= value <= 1 or distance(x[i : i + 1], other, norm) > delta
    assert (missing < 2).any() == (norm != "L0")


def test_without_a_ball_every_element_moves_away():
    x, moved, _, spacing = case("L2", 256, 0.0, 1.0)
    found = round_to_levels(x, moved, levels=256, low=torch.tensor(0.0), high=torch.tensor(1.0))
    steps = ((moved - x).abs() / spacing).numpy()
    between = np.abs(steps - np.round(steps)) > 1e-3
    np.testing.assert_allclose(
        (found - x).abs().numpy()[between] / spacing, np.ceil(steps)[between], atol=1e-3
    )


@pytest.mark.parametrize(("norm", "delta"), [("Linf", 0.2), ("L2", 1.0)])
def test_attacks_judge_the_rounded_points(digits, norm, delta):
    """The digits have 17 grey levels."""
    net, x, y = digits
    attack = af.load_attack("art_flat:APGD(steps=5)")
    found = attack(net, x, y, delta=delta, norm=norm, levels=17)
    np.testing.assert_allclose(found.x * 16, np.round(found.x * 16), atol=1e-4)
    assert found.within_budget.all()
    np.testing.assert_array_equal(found.success, net.predict(found.x) != y)
    free = attack(net, x, y, delta=delta, norm=norm)
    assert not np.allclose(free.x * 16, np.round(free.x * 16), atol=1e-4)
    assert found.success.sum() >= 0.5 * free.success.sum() > 0


def test_runs_keep_the_levels(digits, tmp_path):
    net, x, y = digits
    options = {
        "attacks": ["art_flat:PGD(steps=3)"],
        "deltas": {"Linf": [0.2]},
        "certify": None,
        "save_adversarial": True,
    }
    results = af.evaluate(net, x[:6], y[:6], levels=17, out=tmp_path / "run", **options)
    assert results.facts["levels"] == af.Results.load(tmp_path / "run").facts["levels"] == 17
    np.testing.assert_allclose(results.records()["linf"] * 16, 3, atol=1e-4)  # 0.2 is between 3 and 4 levels
    other = af.evaluate(net, x[:6], y[:6], **options)
    assert other.facts["levels"] is None
    assert set(other.adversarial["unit"]).isdisjoint(results.adversarial["unit"])


@pytest.mark.parametrize("levels", [1, 2.5, "many"])
def test_bad_levels(digits, levels):
    net, x, y = digits
    with pytest.raises(InputError, match="levels"):
        af.load_attack("art_flat:PGD(steps=1)")(net, x, y, delta=0.1, levels=levels)
