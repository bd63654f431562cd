"""Metrics over balls of inputs: what they certify is what the bounds give, below what attacks leave."""

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from sampling import slow
from torch import nn

import art_flat as af
from art_flat import certification, metrics
from art_flat.errors import InputError, UnknownNameError
from art_flat.metrics._bisection import largest_radii

EPSILON = 0.1


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), (6,), nb_classes=3, clip_values=(0, 1))
    x = np.random.default_rng(0).random((30, 6), dtype=np.float32)
    y = af.adapt(classifier).predict(x)
    y[:4] = (y[:4] + 1) % 3
    return classifier, model.eval(), x, y


def bounds(model, x, y, delta, norm, kind):
    return certification.bounds_in_ball(
        model, torch.from_numpy(x), torch.from_numpy(y), delta=delta, norm=norm, kind=kind
    )


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_metrics_are_the_bounds_and_lie_below_attacks(case, norm):
    classifier, model, x, y = case
    delta = {"Linf": 0.05, "L2": 0.1, "L1": 0.1}[norm]
    for kind in ("interval", "crown_interval", "crown"):
        found = bounds(model, x, y, delta, norm, kind)
        ball = {"delta": delta, "norm": norm, "kind": kind}
        robust = metrics.certified_loss_change_robustness(
            classifier, x, y, epsilon=EPSILON, reduction="none", **ball
        )
        np.testing.assert_array_equal(robust, found.loss_increase.numpy() <= EPSILON)
        kept = metrics.certified_accuracy(classifier, x, y, **ball)
        assert kept == found.label_kept.double().mean().item()
        assert kind == "interval" or 0 < kept < 1
    moved = x.copy()
    moved[:, 0] = np.clip(moved[:, 0] - 0.09, 0, 1)
    points = {"x_adv": moved} if norm == "L1" else {"attack": "art_flat:PGD(steps=5)"}
    both = metrics.loss_change_robustness_bracket(classifier, x, y, epsilon=EPSILON, **points, **ball)
    assert both.certified == robust.mean() <= both.empirical
    assert (both.bound_kind, both.lipschitz_kind, both.n_evaluated) == ("crown", None, 30)


def test_branching_certifies_no_less_and_a_given_constant_is_in_the_minimum(case):
    classifier, _, x, y = case
    ball = {"delta": 0.05, "epsilon": EPSILON, "reduction": "none"}
    few = (classifier, x[:3], y[:3])
    plain, branched = (
        metrics.certified_loss_change_robustness(*few, kind=k, **s, **ball)
        for k, s in (("crown", {}), ("branch", {"seconds": 0.05}))
    )
    assert (branched >= plain).all()
    wide = {**ball, "kind": "interval", "delta": 0.5}
    alone, tiny = (metrics.certified_loss_change_robustness(*few, lipschitz=v, **wide) for v in (None, 1e-9))
    assert alone.sum() == 0
    assert tiny.sum() == 3


@pytest.mark.parametrize("norm", [slow("Linf"), "L2", slow("L1")])
def test_radii_are_certified_and_nearly_the_largest(case, norm):
    classifier, model, x, y = case
    x, y = x[:6], y[:6]
    radii = metrics.input_radius(classifier, x, y, EPSILON, norm=norm, kind="crown")
    assert (radii > 0).all()
    for i, radius in enumerate(radii):
        one = (model, x[i : i + 1], y[i : i + 1])
        assert bounds(*one, radius, norm, "crown").loss_increase <= EPSILON
        assert bounds(*one, radius * 1.05, norm, "crown").loss_increase > EPSILON


def test_radii_of_any_function_are_ones_that_were_evaluated():
    rng = np.random.default_rng(0)
    limit, seen = np.concatenate([[0.0, 1e-9, 5.0], rng.random(20)]), set()

    def is_certified(which, delta):
        hit = delta <= limit[which]
        seen.update((int(i), delta) for i in which[hit])
        return hit

    found = largest_radii(len(limit), is_certified, 1.0)
    assert all(radius == 0 or (i, radius) in seen for i, radius in enumerate(found))
    reached = np.minimum(limit[2:], 1.0)
    assert ((found[2:] <= reached) & (found[2:] * 1.03 > reached)).all()
    np.testing.assert_array_equal(found[:2], 0)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kind": "exact"}, UnknownNameError, "exact"),
        ({"kind": "crown", "norm": "L0"}, InputError, "L0"),
        ({"kind": "branch"}, InputError, "seconds"),
        ({"kind": "crown", "seconds": 1.0}, InputError, "branch"),
        ({"kind": "best", "seconds": 1.0}, InputError, "branch"),
    ],
)
def test_options_that_do_not_fit_are_refused(case, options, error, words):
    classifier, _, x, y = case
    with pytest.raises(error, match=words):
        metrics.certified_loss_change_robustness(
            classifier, x[:1], y[:1], **{"delta": 0.1, "epsilon": EPSILON, **options}
        )
