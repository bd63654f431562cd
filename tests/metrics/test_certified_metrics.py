"""Certified metrics, against a slow bound and every attack."""

import math

import numpy as np
import pytest
import torch
from metric_cases import call
from sampling import slow

import art_flat as af
from art_flat import metrics
from art_flat.errors import (
    InputError,
    UnknownNameError,
)


def test_certificate_against_a_slow_bound(linear):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 3)).astype(np.float32)
    net, x, y = linear(weight), rng.uniform(size=(20, 3)).astype(np.float32), rng.integers(0, 2, 20)
    gap = np.linalg.norm(weight[0].astype(float) - weight[1])
    each = []
    for point, label in zip(x.astype(float), y, strict=True):
        margin = weight[label].astype(float) @ point - weight[1 - label].astype(float) @ point
        # two classes, features = inputs: the largest loss in the L2 ball has margin − r ‖w_0 − w_1‖
        each.append(math.log1p(math.exp(-(margin - 0.2 * gap))) - math.log1p(math.exp(-margin)))
    epsilon = float(np.median(each))
    got = metrics.certified_loss_change_robustness(
        net, x, y, delta=0.2, norm="L2", epsilon=epsilon, reduction="none"
    )
    np.testing.assert_array_equal(got, np.array(each) <= epsilon)
    assert 0 < got.mean() < 1
    # L∞ ball of radius δ lies in the L2 ball of radius δ √3; the L1 ball in the L2 ball of radius δ
    inf = metrics.certified_loss_change_robustness(
        net, x, y, delta=0.2 / math.sqrt(3) * (1 - 1e-9), norm="Linf", epsilon=epsilon, lipschitz=1.0
    )
    one = metrics.certified_loss_change_robustness(
        net, x, y, delta=0.2, norm="L1", epsilon=epsilon, lipschitz=1.0
    )
    assert inf == one == got.mean()


@pytest.mark.slow
def test_certificate_is_below_every_attack(digits):
    net, x, y = digits
    epsilons = [0.01, 0.1, 1.0]
    for delta in (0.002, 0.01):
        for epsilon in epsilons:
            lower = metrics.certified_loss_change_robustness(net, x, y, delta=delta, epsilon=epsilon)
            upper = metrics.loss_change_robustness(
                net, x, y, attack="art_flat:PGD(steps=5)", delta=delta, epsilon=epsilon
            )
            assert lower <= upper
    assert metrics.certified_loss_change_robustness(net, x, y, delta=1e-5, epsilon=1.0) == 1
    looser = metrics.certified_loss_change_robustness(net, x, y, delta=1e-3, epsilon=0.1, lipschitz=1e4)
    assert looser == 0


def test_certificate_refusals(digits):
    net, x, y = digits
    with pytest.raises(InputError, match="no Lipschitz constant in L0"):
        metrics.certified_loss_change_robustness(net, x, y, delta=1, epsilon=1, norm="L0")
    with pytest.raises(UnknownNameError, match="unknown sound bound 'paper'"):
        metrics.certified_loss_change_robustness(net, x, y, delta=1, epsilon=1, kind="paper")
    with pytest.raises(InputError, match="`lipschitz` must be greater than 0"):
        metrics.certified_loss_change_robustness(net, x, y, delta=1, epsilon=1, lipschitz=-1)


def test_certified_takes_raw_and_one_hot_too(digits):
    net, x, y = digits
    got = [
        call(metrics.certified_loss_change_robustness, c, v, w, reduction="none")
        for c, v, w in ((net, x, y), (net.estimator, torch.tensor(x), np.eye(10)[y]))
    ]
    assert isinstance(got[1], torch.Tensor)
    np.testing.assert_array_equal(got[0], got[1].numpy())


@pytest.mark.parametrize("norm", [slow("Linf"), "L2", slow("L1")])
def test_input_radius_is_the_inverse_of_the_certificate(digits, norm):
    """At the radius every sample is certified, a hair beyond it none; and no attack inside it does more."""
    net, x, y = digits
    radius = metrics.input_radius(net, x, y, 0.5, norm=norm)
    constant = net.lipschitz(norm)
    for i, delta in enumerate(radius[:6]):
        one = (net, x[i : i + 1], y[i : i + 1])
        # derived there as well, for one sample: it takes most of the time
        lipschitz = None if i == 0 else constant
        for factor, certified in ((1 - 1e-5, 1), (1.001, 0)):
            share = metrics.certified_loss_change_robustness(
                *one, delta=delta * factor, epsilon=0.5, norm=norm, lipschitz=lipschitz
            )
            assert share == certified
    if norm != "L1":
        adv = af.load_attack("art_flat:APGD(steps=20)")(net, x, y, delta=float(radius.max()), norm=norm)
        inside = np.asarray(adv.distance) <= radius
        assert (np.asarray(net.loss(adv.x, y)) - np.asarray(net.loss(x, y)))[inside].max(initial=0) <= 0.5
    assert (metrics.input_radius(net, x, y, 0.0, norm=norm) == 0).all()
    halved = metrics.input_radius(net, x, y, 0.5, norm="L2", lipschitz=2 * net.lipschitz("L2").value)
    np.testing.assert_allclose(halved, metrics.input_radius(net, x, y, 0.5, norm="L2") / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="at least 0"):
        metrics.input_radius(net, x, y, -1.0)
    with pytest.raises(ValueError, match="greater than 0"):
        metrics.input_radius(net, x, y, 0.1, lipschitz=-2.0)
