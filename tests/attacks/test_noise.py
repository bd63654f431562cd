"""The noise controls: where their points lie, how they are spread, and what several steps do."""

import numpy as np
import pytest
from tolerances import close

import art_flat as af
from art_flat.errors import InputError
from art_flat.testing import AttackContract


class TestGaussianLinf(AttackContract):
    attack = "art_flat:GaussianNoise"
    strength = 0.0


class TestUniformL2(AttackContract):
    attack = "art_flat:UniformNoise(steps=3)"
    norm = "L2"
    delta = 1.5
    strength = 0.0


@pytest.fixture
def middle(linear):
    """A linear net, and 400 points so far from the ends of the range that nothing is clipped."""
    net = linear(np.array([[1.0, 2.0, -1.0], [0.0, -1.0, 1.0]]))
    return net, np.full((400, 3), 0.5, np.float32), np.zeros(400, int)


def shift(attack, problem, norm, **options):
    net, x, y = problem
    adv = af.load_attack(attack)(net, x, y, delta=0.2, norm=norm, **options)
    return (adv.x.astype(np.float64) - x) / 0.2, adv


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_gaussian_is_on_the_sphere_in_all_directions(middle, norm):
    u, adv = shift("art_flat:GaussianNoise", middle, norm)
    np.testing.assert_allclose(np.asarray(adv.distance), 0.2, **close("layer"))
    assert adv.within_budget.all()
    assert (abs(u.mean(axis=0)) < 0.1).all()
    if norm == "L2":  # uniform on the sphere: E[u uᵀ] = I/3
        np.testing.assert_allclose(u.T @ u / len(u), np.eye(3) / 3, atol=0.06)


def test_uniform_fills_the_cube_evenly(middle):
    u, _ = shift("art_flat:UniformNoise", middle, "Linf")
    assert (abs(u) <= 1).all()
    np.testing.assert_allclose((u**2).mean(axis=0), 1 / 3, atol=0.05)
    np.testing.assert_allclose(np.quantile(u, [0.25, 0.5, 0.75]), [-0.5, 0, 0.5], atol=0.08)


def test_uniform_fills_the_l2_ball_evenly(middle):
    u, _ = shift("art_flat:UniformNoise", middle, "L2")
    volume = (
        np.linalg.norm(u, axis=1) ** 3
    )  # uniform in [0, 1] for a uniform point of the ball in 3 dimensions
    assert volume.max() <= 1
    np.testing.assert_allclose(np.quantile(volume, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.08)


@pytest.mark.parametrize("name", ["art_flat:GaussianNoise", "art_flat:UniformNoise"])
def test_one_step_does_not_look_at_the_model(middle, name):
    _, one = shift(name, middle, "L2")
    _, four = shift(f"{name}(steps=4)", middle, "L2")
    assert (one.forwards, one.backwards, four.forwards, four.backwards) == (0, 0, 5, 0)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_steps_keep_the_largest_loss_on_the_way(middle, norm):
    """The loss of a linear net is monotone on a line here: the best of the way is its end, or the clean point."""
    net, x, y = middle
    end, _ = shift("art_flat:GaussianNoise", middle, norm)
    kept, adv = shift("art_flat:GaussianNoise(steps=4)", middle, norm)
    up = net.loss((x + 0.2 * end).astype(np.float32), y) > net.loss(x, y)
    assert 0.2 < up.mean() < 0.8
    np.testing.assert_allclose(kept[up], end[up], **close("layer"))
    assert (kept[~up] == 0).all()
    assert (adv.status[~up] == "fallback").all()


def test_steps_are_checked(middle):
    with pytest.raises(InputError, match="`steps` must be a whole number of at least 1, got 0"):
        shift("art_flat:GaussianNoise(steps=0)", middle, "L2")


def test_seed_changes_the_points(middle):
    first, again, other = (shift("art_flat:UniformNoise", middle, "L2", seed=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_the_suite_noise_is_weaker_than_our_maximiser(digits):
    net, x, y = digits
    found = {
        a.name: np.asarray(net.loss(a(net, x, y, delta=0.3, norm="Linf").x, y)).mean()
        for a in af.attacks.load_attacks(["noise", "art_flat:PGD(steps=10)"])
    }
    best = found.pop("art_flat:PGD(steps=10)")
    assert len(found) == 4
    assert max(found.values()) < best / 2
