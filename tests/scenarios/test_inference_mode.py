"""Calls inside the caller's `torch.inference_mode()` or `torch.no_grad()` return the same numbers as outside."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from art.estimators.classification import SklearnClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn

import art_flat as af
from art_flat import certification, functional, metrics, scorers
from art_flat.detection import SharpnessDetector, detection_table
from art_flat.errors import UnsupportedEstimatorError
from art_flat.evaluation import FlatnessEvaluation
from art_flat.models import as_classifier, fcn
from art_flat.training import Adversary, train

ATTACK = "art_flat:PGD(steps=2)"


def network():
    torch.manual_seed(0)
    with torch.inference_mode(False):
        parts = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 8), nn.Tanh()
        return nn.Sequential(*parts, nn.Linear(8, 3))


def classifier():
    return as_classifier(network(), input_shape=(1, 4, 4), nb_classes=3)


CLASSIFIER = classifier()
NET = af.adapt(CLASSIFIER)
X = np.random.default_rng(0).random((8, 1, 4, 4)).astype(np.float32)
Y = np.arange(8) % 3
ROWS = X.reshape(8, -1)
LINEAR = LogisticRegression(C=50).fit(ROWS, Y)


def attacked(name, **options):
    return lambda x, y: af.load_attack(name)(NET, x, y, **{"norm": "Linf", "delta": 0.1, **options}).x


def own(x, y):
    def step(module, x, y):
        x.requires_grad_()
        return x + 0.05 * torch.autograd.grad(module(x).logsumexp(dim=1).sum(), x)[0].sign()

    return af.attacks.as_attack(step, name="step")(NET, x, y).x


def evaluated(**options):
    def call(x, y):
        results = af.evaluate(CLASSIFIER, x, y, **{"attacks": ATTACK, "deltas": {"Linf": [0.02]}, **options})
        return results.clean, results.adversarial, results.certified

    return call


def metric(function, *, attack=ATTACK, **options):
    return lambda x, y: function(CLASSIFIER, x, y, attack=attack, delta=0.1, **options)


def detected(x, y):
    detector = SharpnessDetector(CLASSIFIER)
    detector.fit(np.concatenate([X, 1 - X]), np.repeat([0, 1], 8))
    rates = detector.true_positive_rates(x, NET.predict(x), ATTACK, delta=0.2)
    return detector.detect(x)[0]["log_relative_sharpness"], rates.plain, rates.adaptive


def trained(**options):
    def call(x, y):
        model = train(network(), x, y, epochs=1, **options)
        return list(model.state_dict().values())

    return call


def linear(x, y):
    net = af.adapt(SklearnClassifier(LINEAR, clip_values=(0, 1)))
    return af.load_attack(ATTACK)(net, x.reshape(8, -1), y, delta=0.1).x


def bound(x, y):
    graph = certification.trace(network().eval(), (1, 4, 4))
    options = {"kind": "branch", "seconds": 0.05, "enough": 1e3}
    bounds = NET.bounds_in_ball(x[:2], y[:2], delta=0.1, **options)
    return bounds.loss_increase, certification.bounds_in_ball(graph, torch.as_tensor(x), y, delta=0.1)


CALLS = {
    "adapt": lambda x, y: af.adapt(classifier()).measure(x, y),
    "module": lambda x, y: NET.as_module()(torch.as_tensor(x)),
    "art_flat:PGD": attacked("art_flat:PGD(steps=2)"),
    "art_flat:APGD": attacked("art_flat:APGD(steps=4)", norm="L2"),
    "torchattacks:PGD": attacked("torchattacks:PGD(steps=2)"),
    "ART": attacked("art:FastGradientMethod"),
    "ART, minimum norm": attacked("art:DeepFool", norm="L2", delta=None),
    "foolbox:LinfFastGradientAttack": attacked("foolbox:LinfFastGradientAttack"),
    "own": own,
    "scikit-learn": linear,
    "evaluate": evaluated(),
    "evaluate, crown": evaluated(certify="crown", lipschitz="spectral"),
    "loss increase": metric(metrics.loss_increase),
    "loss change": metric(metrics.loss_change_robustness, epsilon=0.1),
    "bracket": metric(metrics.loss_change_robustness_bracket, epsilon=0.1),
    "flatness": metric(metrics.adversarial_flatness, reduction="none"),
    "over radii": lambda x, y: metrics.loss_increase_over_radii(CLASSIFIER, x, y, deltas=[0.1]),
    "certified": lambda x, y: metrics.certified_accuracy(CLASSIFIER, x, y, delta=0.01),
    "lipschitz": lambda x, y: NET.lipschitz("Linf").value,
    "lipschitz, empirical": lambda x, y: NET.lipschitz(kind="empirical", points=x).value,
    "lipschitz of a module": lambda x, y: (
        functional.lipschitz_constant(
            network().eval(), (1, 4, 4), kind="empirical", points=torch.as_tensor(x)
        ).value
    ),
    "bounds": bound,
    "trajectories": lambda x, y: af.trace_attack(NET, ATTACK, x, y, delta=0.1).frame(),
    "scaling": lambda x, y: af.scale_sweep(NET, ATTACK, x, y, delta=0.1, scales=[1, 10]).frame(),
    "profile": lambda x, y: af.radial_profile(NET, x, y, radii=[0.1, 0.2]).frame(),
    "scorer": lambda x, y: scorers.loss_change_robustness_scorer(delta=0.1, epsilon=0.1)(LINEAR, ROWS, Y),
    "evaluation of ART": lambda x, y: FlatnessEvaluation([0.05], check_gradients=False).evaluate(
        CLASSIFIER, x, y
    ),
    "detector": detected,
    "detection table": lambda x, y: detection_table(CLASSIFIER, X, NET.predict(X), ATTACK, 0.5, folds=2),
    "training": trained(),
    "training, adversarial": trained(adversary=Adversary(delta=0.1, steps=2)),
}


def arrays(value):
    """All numbers of a result but times, and the texts of its tables."""
    if isinstance(value, dict):
        return [a for v in value.values() for a in arrays(v)]
    if isinstance(value, (tuple, list)):
        return [a for v in value for a in arrays(v)]
    if isinstance(value, pd.DataFrame):
        return [np.array([str(v) for v in value[c]]) for c in value if "seconds" not in c]
    return [value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)]


@functools.cache
def outside(name):
    return arrays(CALLS[name](torch.tensor(X), torch.tensor(Y)))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", CALLS)
def test_same_numbers_as_outside(name, mode):
    with mode():
        found = arrays(CALLS[name](torch.tensor(X), torch.tensor(Y)))
    for a, b in zip(found, outside(name), strict=True):
        np.testing.assert_array_equal(a, b)


def test_arrays_in_inference_mode():
    with torch.inference_mode():
        found = attacked(ATTACK)(X, Y)
    np.testing.assert_array_equal(found, attacked(ATTACK)(X, Y))


def test_results_can_be_used_for_gradients():
    with torch.inference_mode():
        x = torch.tensor(X)
        assert not NET.outputs(x).logits.is_inference()
        assert not attacked(ATTACK)(x, torch.tensor(Y)).is_inference()
        assert torch.is_inference_mode_enabled()


def test_weights_made_in_inference_mode_are_refused():
    with torch.inference_mode():
        made = as_classifier(fcn(16, (4,), 3), input_shape=(1, 4, 4), nb_classes=3)
    with pytest.raises(UnsupportedEstimatorError, match=r"made in torch\.inference_mode.*outside of it"):
        af.adapt(made)
