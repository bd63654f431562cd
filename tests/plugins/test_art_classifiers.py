"""ART's attacks mean the same for every range, preprocessing, dtype, shape and kind of classifier."""

import art.attacks.evasion
import numpy as np
import pytest
import torch
from art_problems import few, grey, trained
from sampling import slow
from sklearn.linear_model import LogisticRegression
from torch import nn

import art_flat as af
from art_flat.attacks import load_attack
from art_flat.datasets import load_dataset
from art_flat.models import as_classifier, digits_cnn, fcn
from art_flat.training import train

DELTA = {"Linf": 0.3, "L2": 2.0, "L1": 10.0, "L0": 20}


@pytest.mark.parametrize(
    ("spec", "norm", "tolerance"),
    [
        ("art:ProjectedGradientDescent(max_iter=5)", "Linf", 1e-3),
        ("art:DeepFool(max_iter=3)", "L2", 1e-3),
        ("art:CarliniL2Method(binary_search_steps=2, max_iter=3, initial_const=1.0)", "L2", 1e-2),
        ("art:SquareAttack(max_iter=10)", "Linf", 1e-3),
        ("art:SaliencyMapMethod(theta=0.5)", "L0", 1e-3),
        ("art:SimBA(max_iter=30)", "L2", 1e-3),
    ],
)
@pytest.mark.slow
def test_range_and_preprocessing_do_not_matter(spec, norm, tolerance):
    attack, delta = load_attack(spec), DELTA[norm]
    one = attack(*few(), delta=delta, norm=norm)
    other = attack(*grey(), delta=delta if norm == "L0" else delta * 255, norm=norm)
    assert (np.abs(one.x - few()[1]) > 0.05).any()
    np.testing.assert_allclose(other.x / 255, one.x, atol=tolerance)
    np.testing.assert_array_equal(other.success, one.success)


@pytest.mark.parametrize("nb_classes", [slow(2), 3])
@pytest.mark.parametrize(
    ("spec", "norm"),
    [
        ("art:FastGradientMethod", "Linf"),
        ("art:ProjectedGradientDescent(max_iter=5)", "L2"),
        ("art:AutoProjectedGradientDescent(max_iter=5, nb_random_init=1)", "Linf"),
        ("art:SquareAttack(max_iter=100)", "Linf"),
        ("art:DeepFool(max_iter=10, epsilon=0.02)", "L2"),
        ("art:CarliniL2Method(binary_search_steps=3, max_iter=5, initial_const=1.0)", "L2"),
        ("art:SaliencyMapMethod(theta=1.0)", "L0"),
        ("art:HopSkipJump(max_iter=1, max_eval=10, init_eval=10)", "L2"),
    ],
)
@pytest.mark.slow
def test_few_classes(spec, norm, nb_classes):
    net, x, y = trained(nb_classes)
    result = load_attack(spec)(net, x, y, delta=3 * DELTA[norm], norm=norm)
    assert np.mean(result.success) >= 0.3


def test_logistic_heads_with_one_output_are_two_classes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    with torch.no_grad():
        model[1].weight *= 5
    classifier = art.estimators.classification.PyTorchClassifier(
        model, nn.BCEWithLogitsLoss(), (1, 8, 8), 2, clip_values=(0.0, 1.0), device_type="cpu"
    )
    net = af.adapt(classifier)
    x = np.random.default_rng(0).random((6, 1, 8, 8)).astype(np.float32)
    y = np.asarray(net.predict(x))
    result = load_attack("art:DeepFool(epsilon=0.02)")(net, x, y)
    assert np.mean(result.success) == 1
    assert (np.asarray(net.predict(result.x)) != y).all()


def test_scikit_learn_models_have_gradients_too():
    data = load_dataset("digits", split="train", n=300)
    model = LogisticRegression(max_iter=200).fit(data.x.reshape(300, -1), data.y)
    classifier = art.estimators.classification.SklearnClassifier(model, clip_values=(0.0, 1.0))
    x = data.x.reshape(300, -1)[:8]
    net = af.adapt(classifier)
    y = np.asarray(net.predict(x))
    result = load_attack("art:CarliniL2Method(binary_search_steps=3, initial_const=1.0)")(net, x, y)
    assert np.mean(result.success) >= 0.8
    assert (classifier.predict(result.x).argmax(axis=1)[result.success] != y[result.success]).all()


@pytest.mark.parametrize(
    "spec",
    ["art:HopSkipJump(max_iter=1, max_eval=10, init_eval=10)", "art:ProjectedGradientDescent(max_iter=3)"],
)
@pytest.mark.slow
def test_double_precision_models(spec):
    data = load_dataset("digits", split="test", n=6)
    model = digits_cnn()
    train(model, data.x, data.y, epochs=20, seed=0)
    net = af.adapt(as_classifier(model.double(), input_shape=(1, 8, 8), nb_classes=10))
    y = np.asarray(net.predict(data.x))
    result = load_attack(spec)(net, data.x, y, delta=4.0, norm="L2")
    assert np.mean(result.success) >= 0.5


def test_vectors_are_attacked_too():
    model = fcn(20, (16,), 3)
    net = af.adapt(as_classifier(model, input_shape=(20,), nb_classes=3))
    x = np.random.default_rng(0).random((8, 20)).astype(np.float32)
    y = np.asarray(net.predict(x))
    result = load_attack("art:ProjectedGradientDescent(max_iter=10)")(net, x, y, delta=5.0, norm="L2")
    assert np.mean(result.success) >= 0.5


def test_ranges_that_differ_between_features_are_kept():
    model = fcn(4, (8,), 3)
    low, high = np.zeros(4, np.float32), np.array([1, 2, 4, 8], np.float32)
    classifier = art.estimators.classification.PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (4,), 3, clip_values=(low, high), device_type="cpu"
    )
    net = af.adapt(classifier)
    x = (np.random.default_rng(0).random((8, 4)) * high).astype(np.float32)
    y = np.asarray(net.predict(x))
    result = load_attack("art:ProjectedGradientDescent(max_iter=10)")(net, x, y, delta=4.0, norm="Linf")
    assert (result.x >= low).all()
    assert (result.x <= high).all()
    assert np.mean(result.success) >= 0.3
    assert result.within_budget.all()
