"""The loss increase over radii: exact on linear models, never falling, inside ball and range, per sample."""

import numpy as np
import pytest
import torch
from torch import nn

import art_flat as af
from art_flat import metrics
from art_flat.errors import AttackNotUsableError, InputError
from art_flat.models import as_classifier

RADII = [0.02, 0.05, 0.1, 0.2]


@pytest.fixture(scope="module")
def curved():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 4))
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (9, 6)).astype(np.float32)
    return as_classifier(model, input_shape=(6,), nb_classes=4), x, rng.integers(0, 4, 9)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_exact_on_a_linear_model(norm):
    rng = np.random.default_rng(1)
    weight, x = rng.normal(size=(2, 6)), rng.uniform(0.3, 0.7, (8, 6))
    y = rng.integers(0, 2, 8)
    model = nn.Linear(6, 2, bias=False).double()
    model.weight.data = torch.from_numpy(weight)
    net = af.adapt(as_classifier(model, input_shape=(6,), nb_classes=2))
    margin = (x @ (weight[0] - weight[1])) * np.where(y == 0, 1, -1)
    slope = np.linalg.norm(weight[0] - weight[1], ord=1 if norm == "Linf" else 2)
    exact = [np.logaddexp(0, slope * delta - margin) - np.logaddexp(0, -margin) for delta in RADII]
    found = metrics.loss_increase_over_radii(net, x, y, deltas=RADII, norm=norm, reduction="none")
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_never_falls(curved, norm, steps):
    classifier, x, y = curved
    found = metrics.loss_increase_over_radii(
        classifier, x, y, deltas=RADII, norm=norm, attack=f"art_flat:APGD(steps={steps})", reduction="none"
    )
    assert found.shape == (4, 9)
    assert (np.diff(found, axis=0) >= 0).all()
    assert (found >= 0).all()
    mean = metrics.loss_increase_over_radii(
        classifier, x, y, deltas=RADII, norm=norm, attack=f"art_flat:APGD(steps={steps})"
    )
    np.testing.assert_allclose(mean, found.mean(axis=1))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_given_start_is_a_candidate_and_needs_no_other_samples(curved, norm):
    """The result is in ball and range, at least as bad as the start, and that of each sample on its own."""
    net, x, y = af.adapt(curved[0]), *curved[1:]
    strong, weak = af.load_attack("art_flat:APGD", steps=30), af.load_attack("art_flat:APGD", steps=2)
    start = strong(net, x, y, delta=0.1, norm=norm).x
    result = weak(net, x, y, delta=0.12, norm=norm, start=start)
    assert (result.distance <= 0.12).all()
    assert ((result.x >= 0) & (result.x <= 1)).all()
    assert (net.loss(result.x, y) >= net.loss(start, y) - 1e-6).all()
    assert result.backwards == 2
    one = slice(3, 4)
    alone = weak(net, x[one], y[one], delta=0.12, norm=norm, start=start[one])
    np.testing.assert_allclose(alone.x, result.x[one], atol=1e-5)


def test_a_start_outside_the_ball_is_projected(curved):
    net, x, y = af.adapt(curved[0]), *curved[1:]
    result = af.load_attack("art_flat:APGD", steps=2)(net, x, y, delta=0.01, norm="L2", start=1 - x)
    assert result.within_budget.all()


def test_wrong_arguments(curved):
    classifier, x, y = curved
    with pytest.raises(InputError, match="`deltas` has no radius"):
        metrics.loss_increase_over_radii(classifier, x, y, deltas=[])
    for deltas in ([0.2, 0.1], [0.1, 0.1]):
        with pytest.raises(InputError, match="increasing"):
            metrics.loss_increase_over_radii(classifier, x, y, deltas=deltas)
    with pytest.raises(AttackNotUsableError, match="own start"):
        metrics.loss_increase_over_radii(classifier, x, y, deltas=[0.1], attack="art_flat:PGD")
    net = af.adapt(classifier)
    with pytest.raises(AttackNotUsableError, match="own start"):
        af.load_attack("art_flat:PGD")(net, x, y, delta=0.1, start=x)
    with pytest.raises(InputError, match="8 points for 9"):
        af.load_attack("art_flat:APGD")(net, x, y, delta=0.1, start=x[:8])
