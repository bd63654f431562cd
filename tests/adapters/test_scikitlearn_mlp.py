"""The adapter of scikit-learn's MLPClassifier computes what `predict` computes, and lets gradients through."""

import numpy as np
import pytest
import torch
from art.attacks.evasion import HopSkipJump
from art.defences.preprocessor import FeatureSqueezing
from art.estimators.classification import SklearnClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

import art_flat as af
from art_flat.errors import InputError, UnsupportedEstimatorError


def data(k=3, n=60, d=5):
    rng = np.random.default_rng(0)
    x = rng.random((n, d))
    return x, (x @ rng.normal(size=(d, k))).argmax(axis=1)


def fitted(k=3, classes=None, dtype=np.float64, **options):
    # A handful of epochs: with this tolerance it stops, and says nothing of convergence.
    options = {"hidden_layer_sizes": (8, 4), "activation": "tanh"} | options
    x, y = data(k)
    model = MLPClassifier(learning_rate_init=0.1, batch_size=20, tol=1e9, random_state=0, **options)
    return model.fit(x.astype(dtype), y if classes is None else np.asarray(classes)[y])


def classifier(*args, clip_values=(0, 1), preprocessing=(0.0, 1.0), defences=None, **options):
    return SklearnClassifier(
        fitted(*args, **options),
        clip_values=clip_values,
        preprocessing=preprocessing,
        preprocessing_defences=defences,
    )


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("hidden", [(), (6,), (8, 4)])
def test_logits_and_module_give_what_predict_gives(activation, k, hidden):
    estimator = classifier(k, activation=activation, hidden_layer_sizes=hidden, preprocessing=(0.3, 0.7))
    net, (x, _) = af.adapt(estimator), data()
    z, phi = net.outputs(x)
    np.testing.assert_allclose(z.softmax(1), estimator.predict(x), rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(net.as_module()(torch.as_tensor(x)), z)
    torch.testing.assert_close(phi @ net.head.weight.T + net.head.bias, z)
    assert z.dtype == net.dtype == torch.float64
    assert net.head.weight.shape == (k, (5, *hidden)[-1])


def test_features_are_those_of_the_last_hidden_layer():
    estimator = classifier(preprocessing=None)  # ART's standardisation, also by 0 and 1, rounds to float32
    (w1, w2, _), (b1, b2, _) = estimator.model.coefs_, estimator.model.intercepts_
    expected = np.tanh(np.tanh(data()[0] @ w1 + b1) @ w2 + b2)
    np.testing.assert_allclose(af.adapt(estimator).features(data()[0]), expected, rtol=1e-12)


def test_gradient_by_finite_differences():
    net = af.adapt(classifier(activation="logistic", preprocessing=None))
    module, x = net.as_module(), torch.as_tensor(data()[0][:4]).requires_grad_()
    assert torch.autograd.gradcheck(module, x)
    assert not any(p.requires_grad for p in module.parameters())


def test_attacks_run_on_it_and_it_does_not_change():
    estimator = classifier()
    net, (x, y) = af.adapt(estimator), data()
    before = [w.copy() for w in estimator.model.coefs_]
    found = af.load_attack("art_flat:PGD(steps=20)")(net, x, y, delta=0.3, norm="Linf")
    assert (net.loss(found.x, y) > net.loss(x, y)).mean() > 0.9
    assert found.success.mean() > 0.3
    with net.guard():
        x_adv = HopSkipJump(estimator, max_iter=1, max_eval=20, init_eval=10, verbose=False).generate(x[:3])
    assert x_adv.shape == (3, 5)
    for old, new in zip(before, estimator.model.coefs_, strict=True):
        np.testing.assert_array_equal(old, new)


def test_float32_model():
    estimator = classifier(dtype=np.float32)
    assert estimator.model.coefs_[0].dtype == np.float32
    x, net = data()[0], af.adapt(estimator)
    np.testing.assert_allclose(
        net.outputs(x).logits.softmax(1), estimator.predict(x.astype(np.float32)), rtol=1e-3, atol=1e-5
    )


def test_fitting_again_is_followed():
    estimator, (x, y) = classifier(), data()
    net = af.adapt(estimator)
    before, identity = net.head.weight, net.identity()
    estimator.fit(x, np.eye(3)[(y + 1) % 3])
    assert not torch.allclose(net.head.weight, before)
    assert net.identity() != identity
    np.testing.assert_allclose(net.outputs(x).logits.softmax(1), estimator.predict(x), rtol=1e-6, atol=1e-12)


def test_identity_tells_activations_apart():
    estimator = classifier(activation="tanh")
    tanh = af.adapt(estimator).identity()
    estimator.model.activation = "relu"
    relu = af.adapt(estimator).identity()
    assert tanh["sha256"] != relu["sha256"]
    assert relu["model"] == "sklearn.neural_network._multilayer_perceptron.MLPClassifier"


def test_unit_range_and_names_of_classes():
    estimator = classifier(classes=["cat", "dog", "eel"], clip_values=(-1, 3))
    net, x = af.adapt(estimator), torch.as_tensor(data()[0])
    torch.testing.assert_close(net.as_module(unit_range=True)(x), net.outputs(4 * x - 1).logits)
    np.testing.assert_array_equal(net.predict(x.numpy()), estimator.predict(x.numpy()).argmax(1))


def test_numpy_defence_needs_an_estimate():
    estimator = classifier(defences=FeatureSqueezing(clip_values=(0, 1), bit_depth=2))
    net, x = af.adapt(estimator), data()[0]
    np.testing.assert_allclose(net.outputs(x).logits.softmax(1), estimator.predict(x), rtol=1e-8, atol=1e-12)
    with pytest.raises(UnsupportedEstimatorError, match="FeatureSqueezing has no gradient"):
        net.as_module()


def test_lipschitz_constant():
    net = af.adapt(classifier(preprocessing=(0.3, 0.5)))
    weights = [np.linalg.norm(w, 2) for w in net.estimator.model.coefs_[:-1]]
    bound = net.lipschitz("L2").value
    assert bound <= np.prod(weights) / 0.5 * (1 + 1e-4)
    x = data()[0]
    steps = np.linalg.norm(np.diff(net.features(x), axis=0), axis=1)
    assert (steps <= bound * np.linalg.norm(np.diff(x, axis=0), axis=1)).all()


class TestRefused:
    def test_other_models(self):
        x, y = data()
        forest = RandomForestClassifier(3, random_state=0).fit(x, y)
        with pytest.raises(UnsupportedEstimatorError, match="only LogisticRegression and MLPClassifier"):
            af.adapt(SklearnClassifier(forest, clip_values=(0, 1)))
        with pytest.raises(UnsupportedEstimatorError, match=r"ScikitlearnClassifier of a Pipeline.*register"):
            af.adapt(SklearnClassifier(make_pipeline(fitted()), clip_values=(0, 1)))

    def test_not_fitted(self, caplog):
        with caplog.at_level("CRITICAL"):
            estimator = SklearnClassifier(MLPClassifier(), clip_values=(0, 1))
        with pytest.raises(UnsupportedEstimatorError, match="MLPClassifier is not fitted"):
            af.adapt(estimator)

    def test_several_labels(self):
        x, y = data()
        model = MLPClassifier((3,), tol=1e9).fit(x, np.eye(3)[y])
        with pytest.raises(UnsupportedEstimatorError, match="several labels per sample"):
            af.adapt(SklearnClassifier(model, clip_values=(0, 1)))

    def test_other_probabilities(self):
        class Sharper(MLPClassifier):
            def predict_proba(self, X):
                p = super().predict_proba(X) ** 2
                return p / p.sum(axis=1, keepdims=True)

        estimator, (x, y) = classifier(), data()
        estimator._model = Sharper((3,), tol=1e9).fit(x, y)
        with pytest.raises(UnsupportedEstimatorError, match="predict_proba of the Sharper is not what"):
            af.adapt(estimator)

    def test_head_cannot_be_named(self):
        with pytest.raises(InputError, match="leave out head='fc'"):
            af.adapt(classifier(), head="fc")
