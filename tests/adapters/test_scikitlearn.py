"""The adapter of ScikitlearnLogisticRegression computes what `predict` computes."""

import logging

import numpy as np
import pytest
import torch
from art.defences.preprocessor import FeatureSqueezing
from art.estimators.classification import SklearnClassifier
from sklearn.linear_model import LogisticRegression

import art_flat as af
from art_flat.errors import InputError, UnsupportedEstimatorError


def data(k, n=60, d=5):
    rng = np.random.default_rng(0)
    x = rng.random((n, d))
    return x, (x @ rng.normal(size=(d, k))).argmax(axis=1)


def classifier(k=3, clip_values=(0, 1), classes=None, **options):
    x, y = data(k)
    model = LogisticRegression().fit(x, y if classes is None else np.asarray(classes)[y])
    return SklearnClassifier(model, clip_values=clip_values, **options)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("preprocessing", [(0.0, 1.0), (0.3, 0.7), None])
def test_logits_and_module_give_what_predict_gives(k, preprocessing):
    estimator = classifier(k, preprocessing=preprocessing)
    net, (x, _) = af.adapt(estimator), data(k)
    z = net.outputs(x).logits
    np.testing.assert_allclose(z.softmax(1), estimator.predict(x), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(net.as_module()(torch.as_tensor(x)), z)
    assert z.dtype == net.dtype == torch.float64
    assert net.nb_classes == net.head.nb_classes == k
    torch.testing.assert_close(net.outputs(x).features @ net.head.weight.T + net.head.bias, z)


def test_features_are_the_preprocessed_inputs():
    x, _ = data(3)
    estimator = classifier(preprocessing=(0.25, 0.5))
    expected = ((x - np.float32(0.25)) / np.float32(0.5)).astype(np.float32)
    np.testing.assert_array_equal(af.adapt(estimator).features(x), expected.astype(np.float64))


def test_weights_of_a_binary_model_are_split():
    estimator = classifier(2)
    head = af.adapt(estimator).head
    np.testing.assert_allclose(head.weight, np.vstack([-estimator.model.coef_, estimator.model.coef_]) / 2)
    np.testing.assert_allclose(head.bias, np.array([-1, 1]) * estimator.model.intercept_ / 2)


def test_fitting_again_is_followed():
    estimator = classifier(3)
    net = af.adapt(estimator)
    before = net.head.weight
    x, y = data(3)
    estimator.fit(x, np.eye(3)[(y + 1) % 3])
    assert not torch.allclose(net.head.weight, before)
    np.testing.assert_allclose(net.outputs(x).logits.softmax(1), estimator.predict(x), rtol=1e-5)


def test_gradient_goes_through_the_standardisation():
    net = af.adapt(classifier(preprocessing=(0.25, 0.5)))
    x = torch.as_tensor(data(3)[0]).requires_grad_()
    net.as_module()(x)[:, 1].sum().backward()
    torch.testing.assert_close(x.grad, (net.head.weight[1] / 0.5).expand_as(x), rtol=1e-6, atol=0)


def test_unit_range():
    net = af.adapt(classifier(clip_values=(-1, 3)))
    x = torch.as_tensor(data(3)[0])
    torch.testing.assert_close(net.as_module(unit_range=True)(x), net.outputs(4 * x - 1).logits)


def test_classes_with_names():
    estimator = classifier(3, classes=["cat", "dog", "eel"])
    net, (x, _) = af.adapt(estimator), data(3)
    np.testing.assert_array_equal(net.predict(x), estimator.predict(x).argmax(1))


def test_passes_cannot_be_counted():
    net = af.adapt(classifier())
    with net.counting() as passes:
        net.logits(data(3)[0])
    assert np.isnan(passes.forwards)
    assert np.isnan(passes.backwards)


def test_numpy_defence_needs_an_estimate():
    estimator = classifier(preprocessing_defences=FeatureSqueezing(clip_values=(0, 1), bit_depth=2))
    net, (x, _) = af.adapt(estimator), data(3)
    np.testing.assert_allclose(net.outputs(x).logits.softmax(1), estimator.predict(x), rtol=1e-10)
    with pytest.raises(UnsupportedEstimatorError, match="FeatureSqueezing has no gradient"):
        net.as_module()
    points = torch.as_tensor(x).requires_grad_()
    net.as_module(estimate_gradients=True)(points)[:, 0].sum().backward()
    torch.testing.assert_close(points.grad, net.head.weight[0].expand_as(points))


def test_unfitted_model_is_refused(caplog):
    with caplog.at_level(logging.CRITICAL):
        estimator = SklearnClassifier(LogisticRegression(), clip_values=(0, 1))
    with pytest.raises(UnsupportedEstimatorError, match=r"is not fitted; call classifier\.fit\(x, y\)"):
        af.adapt(estimator)


def test_one_against_the_rest_is_refused():
    class OneAgainstTheRest(LogisticRegression):
        def predict_proba(self, x):
            odds = 1 / (1 + np.exp(-self.decision_function(x)))
            return odds / odds.sum(axis=1, keepdims=True)

    estimator = classifier(3)
    x, y = data(3)
    estimator._model = OneAgainstTheRest().fit(x, y)
    with pytest.raises(UnsupportedEstimatorError, match="not softmax"):
        af.adapt(estimator)


def test_head_cannot_be_named():
    with pytest.raises(InputError, match="leave out head='fc'"):
        af.adapt(classifier(), head="fc")


def test_an_estimator_without_its_wrapper_names_it():
    with pytest.raises(
        UnsupportedEstimatorError, match=r"LogisticRegression is .*SklearnClassifier\(model, clip_values="
    ):
        af.adapt(LogisticRegression())
