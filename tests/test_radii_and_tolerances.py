"""Radii and tolerated loss changes: one number or several, in any form, and the same errors everywhere."""

import numpy as np
import pytest
import torch
from six_samples import ATTACK, X, Y, evaluated

import art_flat as af
from art_flat import detection, metrics, scorers
from art_flat._utils.numbers import check_epsilons, check_radii
from art_flat.errors import InputError
from art_flat.evaluation import FlatnessEvaluation
from art_flat.testing import example_results


@pytest.fixture
def net(linear):
    return linear(np.random.default_rng(1).normal(size=(3, 4)))


ONE_DELTA = {
    "attack": lambda net, d: af.load_attack(ATTACK)(net, X, Y, delta=d),
    "radii of an attack": lambda net, d: af.load_attack(ATTACK)(net, X, Y, delta=0.2, radii={"Linf": [d]}),
    "metric": lambda net, d: metrics.loss_increase(net, X, Y, attack=ATTACK, delta=d),
    "certified": lambda net, d: metrics.certified_accuracy(net, X, Y, delta=d),
    "trace_attack": lambda net, d: af.trace_attack(net, ATTACK, X, Y, delta=d),
    "scale_sweep": lambda net, d: af.scale_sweep(net, ATTACK, X, Y, delta=d, scales=[1]),
    "bounds": lambda net, d: net.bounds_in_ball(X, Y, delta=d),
    "scorer": lambda net, d: scorers.loss_change_robustness_scorer(delta=d, epsilon=0.1),
    "project": lambda net, d: af.functional.project(torch.zeros(1, 4), torch.ones(1, 4), d, "L2"),
}
MANY_DELTAS = {
    "evaluate": lambda net, d: evaluated(net, deltas={"Linf": d}),
    "FlatnessEvaluation": lambda net, d: FlatnessEvaluation(d),
    "detection_table": lambda net, d: detection.detection_table(net, X, Y, ATTACK, d, folds=2),
    "over radii": lambda net, d: metrics.loss_increase_over_radii(net, X, Y, deltas=d),
}
MANY_EPSILONS = {
    "evaluate": lambda net, e: evaluated(net, epsilons=e),
    "summary": lambda net, e: example_results().summary(epsilons=e),
    "surface": lambda net, e: example_results().surface(epsilons=e),
    "FlatnessEvaluation": lambda net, e: FlatnessEvaluation([0.1], epsilons=e),
}
FORMS = (0.1, "0.1", "1/10", np.float32(0.1), np.array(0.1), torch.tensor(0.1))


@pytest.mark.parametrize("name", ONE_DELTA)
def test_one_radius(net, name):
    for value in FORMS:
        ONE_DELTA[name](net, value)
    for value in (True, [0.1], np.array([0.1]), "a", 0, -0.1, np.nan, np.inf):
        with pytest.raises(InputError, match="`delta` must be"):
            ONE_DELTA[name](net, value)


@pytest.mark.parametrize("name", MANY_DELTAS)
def test_several_radii(net, name):
    for value in (*FORMS, [0.1, "1/5"], np.array([0.1, 0.2]), (0.1,), (d for d in [0.1])):
        MANY_DELTAS[name](net, value)
    for value in (True, [True], "a", [[0.1]], {"a": 1}, [0.0]):
        with pytest.raises(InputError, match="`delta` must be"):
            MANY_DELTAS[name](net, value)
    with pytest.raises(InputError, match="`deltas` has no radius; pass at least one"):
        MANY_DELTAS[name](net, [])


@pytest.mark.parametrize("name", MANY_EPSILONS)
def test_several_tolerances(net, name):
    for value in (*FORMS, [0.1, "1/5"], np.array([0.1, 0.2]), {0.1}, [0]):
        MANY_EPSILONS[name](net, value)
    for value in (True, [True], "a", [[0.1]], {"a": 1}, [-1]):
        with pytest.raises(InputError, match="`epsilon` must be"):
            MANY_EPSILONS[name](net, value)
    with pytest.raises(InputError, match="`epsilons` is empty; pass at least one loss change"):
        MANY_EPSILONS[name](net, [])
    with pytest.raises(InputError, match=r"0\.1 and 0\.10000000001, which would both be the column @0\.1;"):
        MANY_EPSILONS[name](net, [0.1, 0.10000000001])


def test_order_and_repetitions():
    assert check_radii([0.2, 0.1, "0.2"]) == (0.2, 0.1)
    assert check_epsilons(e for e in (1, 0, 1.0)) == (0.0, 1.0)
