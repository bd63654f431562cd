"""Metrics on real ART classifiers, against what the scores and slow references give."""

import math

import numpy as np
import pytest
import references
import torch
from metric_cases import points_fixture  # noqa: F401
from tolerances import close, near

from art_flat import metrics, scores
from art_flat.errors import (
    InputError,
)


@pytest.fixture(scope="module")
def reference(digits, points):
    """Δℓ, wrong, prediction change and log κ per set and sample, from logits in plain Python."""
    net, x, y = digits

    def loss(z):
        return np.array([references.cross_entropy(row, label) for row, label in zip(z, y, strict=True)])

    def log_kappa(at):
        z, phi = (torch.as_tensor(v) for v in (net.logits(at), net.features(at)))
        return references.log_relative_sharpness(z, phi, net.head.weight.detach(), "paper").numpy()

    z, z_adv = net.logits(x), [net.logits(p) for p in points]
    return {
        "change": np.stack([loss(v) for v in z_adv]) - loss(z),
        "wrong": np.stack([v.argmax(1) != y for v in z_adv]),
        "moved": np.stack([v.argmax(1) != z.argmax(1) for v in z_adv]),
        "right": z.argmax(1) == y,
        "log_kappa": log_kappa(x),
        "log_kappa_adv": np.stack([log_kappa(p) for p in points]),
    }


def test_loss_increase_is_the_worst_of_all_points(digits, points, reference):
    net, x, y = digits
    each = metrics.loss_increase(net.estimator, x, y, x_adv=points, reduction="none")
    expected = np.maximum(reference["change"].max(axis=0), 0)
    assert each.dtype == np.float64
    np.testing.assert_allclose(each, expected, **close("net"))
    assert expected.max() > 1
    single = metrics.loss_increase(net.estimator, x, y, x_adv=points[1])
    assert isinstance(single, float)
    assert single == near(np.maximum(reference["change"][1], 0).mean(), "net")
    low, high = (
        metrics.loss_increase(net, x, y, x_adv=points, reduction="quantile", quantile=q) for q in (0.0, 1.0)
    )
    assert (low, high) == (each.min(), each.max())


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_loss_change_robustness(digits, points, reference, epsilon):
    net, x, y = digits
    share = metrics.loss_change_robustness(net.estimator, x, y, x_adv=points, epsilon=epsilon)
    assert share == pytest.approx((reference["change"].max(axis=0) <= epsilon).mean())
    z_adv = np.stack([net.logits(p) for p in points])
    assert share == pytest.approx(
        scores.loss_change_robustness_score(y, net.logits(x), z_adv, epsilon=epsilon)
    )
    each = metrics.loss_change_robustness(net, x, y, x_adv=points, epsilon=epsilon, reduction="none")
    assert set(each) <= {0.0, 1.0}
    assert each.mean() == pytest.approx(share)


def test_an_increase_of_just_epsilon_is_tolerated(digits, points):
    net, x, y = digits
    each = metrics.loss_increase(net, x, y, x_adv=points, reduction="none")
    largest = float(each.max())
    assert metrics.loss_change_robustness(net, x, y, x_adv=points, epsilon=largest) == 1
    below = metrics.loss_change_robustness(net, x, y, x_adv=points, epsilon=largest * (1 - 1e-9))
    assert below == pytest.approx(23 / 24)
    assert metrics.loss_change_robustness(net, x, y, x_adv=x, epsilon=0) == 1


def test_prediction_change_robustness(digits, points, reference):
    net, x, y = digits
    share = metrics.prediction_change_robustness(net.estimator, x, y, x_adv=points)
    assert share == pytest.approx((~reference["moved"].any(axis=0)).mean())
    assert 0 < share < 1
    # what is wrong already and stays so has not changed
    moved = metrics.prediction_change_robustness(net, x, (y + 1) % 10, x_adv=points, reduction="none")
    np.testing.assert_array_equal(moved, ~reference["moved"].any(axis=0))


def test_minimum_loss_increase(digits, points, reference):
    net, x, y = digits
    change = np.where(reference["wrong"], reference["change"], math.inf).min(axis=0)
    expected = np.where(reference["right"], change, np.minimum(change, 0))
    each = metrics.minimum_loss_increase(net.estimator, x, y, x_adv=points, reduction="none")
    np.testing.assert_allclose(each, expected, **close("net"))
    assert np.isinf(expected).any()
    assert metrics.minimum_loss_increase(net, x, y, x_adv=points) == np.sort(each)[11]
    assert metrics.minimum_loss_increase(net, x, y, x_adv=points, quantile=1.0) == math.inf


def test_adversarial_flatness_is_read_where_the_loss_is_largest(digits, points, reference):
    net, x, y = digits
    worst = reference["change"].argmax(axis=0)
    columns = np.arange(len(x))
    adversarial = reference["right"] & reference["wrong"][worst, columns]
    ratio = np.exp(reference["log_kappa_adv"][worst, columns] - reference["log_kappa"])
    each = metrics.adversarial_flatness(net.estimator, x, y, x_adv=points, reduction="none")
    np.testing.assert_allclose(each[adversarial], ratio[adversarial], **close("gradient"))
    assert np.isnan(each[~adversarial]).all()
    assert 3 < adversarial.sum() < len(x)
    kept = np.sort(each[adversarial])
    assert metrics.adversarial_flatness(net, x, y, x_adv=points) == kept[(len(kept) - 1) // 2]
    same = metrics.adversarial_flatness(net, x, y, x_adv=points, definition="unsquared", reduction="none")
    np.testing.assert_allclose(same, each, rtol=1e-12)
    other = metrics.adversarial_flatness(net, x, y, x_adv=points, definition="neuronwise", reduction="none")
    assert not np.allclose(other[adversarial], each[adversarial], rtol=1e-2)


def test_no_adversarial_example_is_an_error(digits):
    net, x, y = digits
    with pytest.raises(InputError, match="no adversarial example whose flatness could be measured"):
        metrics.adversarial_flatness(net, x, y, x_adv=x)
    assert np.isnan(metrics.adversarial_flatness(net, x, y, x_adv=x, reduction="none")).all()


@pytest.mark.parametrize("definition", ["paper", "neuronwise", "unsquared"])
def test_relative_sharpness_at_clean_points(digits, definition):
    net, x, _ = digits
    z, phi = (torch.as_tensor(v) for v in (net.logits(x), net.features(x)))
    expected = references.log_relative_sharpness(z, phi, net.head.weight.detach(), definition).exp().numpy()
    each = metrics.relative_sharpness(net.estimator, x, definition=definition, reduction="none")
    np.testing.assert_allclose(each, expected, **close("head", scale=0))
    mean = metrics.relative_sharpness(net.estimator, x, definition=definition)
    assert mean == near(expected.mean(), "head", scale=0)
    median = metrics.relative_sharpness(net, x, definition=definition, reduction="quantile")
    assert median == near(np.sort(expected)[11], "head", scale=0)


def test_relative_sharpness_at_adversarial_points(digits, points, reference):
    net, x, y = digits
    worst, columns = reference["change"].argmax(axis=0), np.arange(len(x))
    expected = np.exp(reference["log_kappa_adv"][worst, columns])
    each = metrics.relative_sharpness(net, x, y, x_adv=points, reduction="none")
    np.testing.assert_allclose(each, expected, **close("gradient"))
    assert (reference["change"].max(axis=0) > 0).any()
    np.testing.assert_allclose(
        metrics.relative_sharpness(net, x, y, x_adv=points[0], reduction="none"),
        net.relative_sharpness(points[0]),
        **close("net"),
    )
    with pytest.raises(InputError, match="`y` is missing"):
        metrics.relative_sharpness(net, x, x_adv=points)
