"""Classifiers, labels, arrays and points that metrics accept, and those they refuse."""

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier
from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression
from metric_cases import WITH_POINTS, call, points_fixture  # noqa: F401
from tolerances import close
from torch import nn

from art_flat import metrics
from art_flat.errors import (
    BudgetError,
    InputError,
    ParameterError,
    UnknownNameError,
    UnsupportedEstimatorError,
)

EVERY = [*WITH_POINTS, metrics.certified_loss_change_robustness]


def name(metric):
    return metric.__name__


@pytest.mark.parametrize("metric", WITH_POINTS, ids=name)
def test_raw_or_adapted_and_every_form_of_labels_and_arrays(digits, points, metric):
    net, x, y = digits
    plain = call(metric, net.estimator, x, y, x_adv=points, reduction="none")
    assert isinstance(plain, np.ndarray)
    assert plain.shape == (len(x),)
    adapted = call(metric, net, x, y, x_adv=points, reduction="none")
    one_hot = call(metric, net, x, np.eye(10)[y], x_adv=points, reduction="none")
    tensors = call(
        metric, net, torch.tensor(x), torch.tensor(y), x_adv=[torch.tensor(p) for p in points],
        reduction="none",
    )  # fmt: skip
    assert isinstance(tensors, torch.Tensor)
    for other in (adapted, one_hot, tensors.numpy()):
        np.testing.assert_array_equal(plain, other)
    order = np.random.default_rng(0).permutation(len(x))
    mixed = call(metric, net, x[order], y[order], x_adv=[p[order] for p in points], reduction="none")
    np.testing.assert_allclose(mixed, plain[order], **close("net", scale=10))
    assert isinstance(call(metric, net.estimator, x, y, x_adv=points), float)


def test_scikit_learn_classifier():
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    x, y = load_iris(return_X_y=True)
    x = x / 8
    classifier = ScikitlearnLogisticRegression(LogisticRegression(max_iter=500).fit(x, y), clip_values=(0, 1))
    x_adv = FastGradientMethod(classifier, eps=0.05).generate(x)
    got = metrics.loss_increase(classifier, x, y, x_adv=x_adv, delta=0.05, reduction="none")
    p, p_adv = (classifier.predict(v)[np.arange(len(y)), y] for v in (x, x_adv))
    np.testing.assert_allclose(got, np.maximum(np.log(p) - np.log(p_adv), 0), **close("net", scale=10))
    assert got.mean() > 0.05
    assert metrics.certified_loss_change_robustness(classifier, x, y, delta=1e-6, epsilon=0.1) == 1


@pytest.mark.parametrize("metric", EVERY, ids=name)
def test_eps_is_answered(digits, metric):
    net, x, y = digits
    with pytest.raises(
        ParameterError, match=r"the radius is `delta`, the tolerated loss change is `epsilon`"
    ):
        metric(net, x, y, eps=0.1)


@pytest.mark.parametrize("metric", [m for m in WITH_POINTS if m is not metrics.relative_sharpness], ids=name)
def test_neither_points_nor_attack(digits, metric):
    net, x, y = digits
    with pytest.raises(InputError, match="got neither of `x_adv` and `attack`"):
        call(metric, net, x, y, delta=0.1)


@pytest.mark.parametrize("metric", WITH_POINTS, ids=name)
def test_bad_input(digits, metric):
    net, x, y = digits

    def refuses(error, match, *args, **options):
        with pytest.raises(error, match=match):
            call(metric, *(args or (net, x, y)), **options)

    refuses(InputError, "got both of `x_adv` and `attack`", x_adv=x, attack="art_flat:PGD", delta=0.1)
    refuses(InputError, r"`x_adv` must have shape \(n, 1, 8, 8\)", x_adv=x[:, :, 1:])
    refuses(InputError, "`x_adv` has 5 points for 24 samples", x_adv=x[:5])
    refuses(InputError, r"`x_adv\[1\]` has 5 points for 24 samples", x_adv=[x, x[:5]])
    refuses(InputError, r"`x_adv\[0\]` is one sample", x_adv=list(x))
    refuses(InputError, "`x_adv` is an empty list", x_adv=[])
    refuses(InputError, "`x_adv` has values from .* the classifier's clip_values are 0 to 1", x_adv=x + 1)
    refuses(InputError, "NaN or infinite", x_adv=np.where(x > 0.5, np.nan, x))
    refuses(InputError, "23 labels for 24 samples", net, x, y[:-1], x_adv=x)
    refuses(InputError, "must be greater than 0", x_adv=x, delta=0)
    refuses(UnknownNameError, "unknown norm 'L3'", x_adv=x, delta=0.1, norm="L3")
    refuses(UnknownNameError, "unknown reduction 'sum'", x_adv=x, reduction="sum")
    refuses(UnknownNameError, "unknown attack 'art_flat:PDG'", attack="art_flat:PDG", delta=0.1)
    refuses(InputError, "needs `delta`", attack="art_flat:PGD")
    refuses(InputError, "cannot attack with 3", attack=3, delta=0.1)
    refuses(UnsupportedEstimatorError, "bare nn.Module", nn.Linear(2, 2), x, y, x_adv=x)


@pytest.mark.parametrize("metric", WITH_POINTS, ids=name)
def test_points_outside_the_ball(digits, metric):
    net, x, y = digits
    x_adv = x.copy()
    x_adv[3, 0, 0, 0], x_adv[7, 0, 0, :2] = 0.25, 0.125
    words = (
        r"2 of 24 points of `x_adv` lie outside the Linf ball of radius 0.1, by up to 0.15 \(sample 3: 0.25\)"
    )
    with pytest.raises(BudgetError, match=words):
        call(metric, net, x, y, x_adv=x_adv, delta=0.1)
    with pytest.raises(BudgetError, match=r"1 of 24 points of `x_adv\[1\]` lie outside the L2 ball"):
        call(metric, net, x, y, x_adv=[x, x_adv], delta=0.2, norm="L2", reduction="none")
    call(metric, net, x, y, x_adv=x_adv, delta=0.25, norm="L2", reduction="none")


def test_rounding_is_no_reason_to_refuse(digits):
    net, x, y = digits
    x_adv = np.clip(x + np.float32(8 / 255) * (1 + np.float32(1e-5)), 0, 1)
    assert np.abs(x_adv.astype(float) - x).max() > 8 / 255
    got = metrics.loss_increase(net, x, y, x_adv=x_adv, delta=8 / 255, reduction="none")
    free = metrics.loss_increase(net, x, y, x_adv=x_adv, reduction="none")
    np.testing.assert_allclose(got, free, **close("net", scale=10))


def test_classifier_and_random_state_are_left_alone(digits):
    _, x, y = digits
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10))
    classifier = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (1, 8, 8), nb_classes=10, clip_values=(0, 1), device_type="cpu"
    )
    model.train()
    state = torch.get_rng_state()
    attack = ProjectedGradientDescent(classifier, eps=0.1, max_iter=2, verbose=False)
    a = metrics.loss_increase(classifier, x, y, attack=attack, delta=0.1, seed=1)
    b = metrics.loss_increase(classifier, x, y, attack=attack, delta=0.1, seed=1)
    assert a == b
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
