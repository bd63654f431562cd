"""Every metric with the options it needs, and adversarial points for all of them."""

import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent

from art_flat import metrics

DELTA = 0.15

POINT_METRICS = [
    metrics.loss_increase,
    metrics.prediction_change_robustness,
    metrics.minimum_loss_increase,
    metrics.adversarial_flatness,
    metrics.relative_sharpness,
]

OPTIONS = {
    metrics.loss_change_robustness: {"epsilon": 0.5},
    metrics.certified_loss_change_robustness: {"epsilon": 0.5, "delta": 0.001},
}

WITH_POINTS = [*POINT_METRICS, metrics.loss_change_robustness]


def call(metric, *args, **options):
    return metric(*args, **{**OPTIONS.get(metric, {}), **options})


@pytest.fixture(scope="module", name="points")
def points_fixture(digits):
    """Two sets of adversarial points inside the L∞ ball, made by ART itself on the raw classifier."""
    net, x, y = digits
    with torch.random.fork_rng():
        pgd = ProjectedGradientDescent(net.estimator, eps=DELTA, eps_step=0.05, max_iter=5, verbose=False)
        return [pgd.generate(x, y), FastGradientMethod(net.estimator, eps=DELTA).generate(x, y)]
