"""The scorers give, inside scikit-learn's own tools, what follows from the definitions."""

import functools
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from tolerances import near

from art_flat.errors import InputError, ParameterError, UnknownNameError, UnsupportedEstimatorError
from art_flat.scorers import loss_change_robustness_scorer, neg_relative_sharpness_scorer


def data(n=60, k=3):
    rng = np.random.default_rng(0)
    x = rng.random((n, 4))
    return x, (x @ rng.normal(size=(4, k))).argmax(axis=1)


def mlp():
    return MLPClassifier((6,), activation="tanh", learning_rate_init=0.1, tol=1e9, random_state=0)


MODELS = {"logistic": LogisticRegression(C=10), "mlp": mlp()}


@pytest.fixture(params=MODELS)
def model(request):
    return clone(MODELS[request.param])


def layers(fitted, x):
    """Features, and the weight as rows of a softmax, by hand."""
    if isinstance(fitted, LogisticRegression):
        return x, fitted.coef_
    return np.tanh(x @ fitted.coefs_[0] + fitted.intercepts_[0]), fitted.coefs_[1].T


def loss(fitted, x, y):
    return -np.log(fitted.predict_proba(x)[np.arange(len(x)), y])


class TestNegRelativeSharpness:
    def test_by_hand(self, model):
        x, y = data()
        fitted = model.fit(x, y)
        phi, w = layers(fitted, x)
        p = fitted.predict_proba(x)
        kappa = (w**2).sum() * (phi**2).sum(axis=1) * (p * (1 - p)).sum(axis=1)
        assert neg_relative_sharpness_scorer(fitted, x, y) == pytest.approx(-kappa.mean(), rel=1e-9)
        unsquared = functools.partial(neg_relative_sharpness_scorer, definition="unsquared")
        assert unsquared(fitted, x) == pytest.approx(-(kappa / np.sqrt((w**2).sum())).mean(), rel=1e-9)

    def test_cross_validate_and_search(self, model):
        x, y = data()
        scores = cross_val_score(model, x, y, scoring=neg_relative_sharpness_scorer, cv=3)
        assert (scores < 0).all()
        name = "C" if isinstance(model, LogisticRegression) else "alpha"
        search = GridSearchCV(model, {name: [1e-3, 1e3]}, scoring=neg_relative_sharpness_scorer, cv=3)
        flattest = search.fit(x, y).best_params_[name]
        assert flattest == (1e-3 if name == "C" else 1e3)  # the stronger penalty

    def test_pipeline(self, model):
        x, y = data()
        pipeline = make_pipeline(StandardScaler(), model).fit(x, y)
        scaled = StandardScaler().fit_transform(x)
        assert neg_relative_sharpness_scorer(pipeline, x, y) == pytest.approx(
            neg_relative_sharpness_scorer(pipeline[-1], scaled, y), rel=1e-9
        )

    def test_binary(self, model):
        x, y = data(k=2)
        fitted = model.fit(x, np.array(["no", "yes"])[y])
        phi, w = layers(fitted, x)
        p = fitted.predict_proba(x)[:, 1]
        kappa = (w**2).sum() * (phi**2).sum(axis=1) * p * (1 - p)  # the logistic loss has the same κ
        assert neg_relative_sharpness_scorer(fitted, x) == pytest.approx(-kappa.mean(), rel=1e-9)

    def test_an_adapted_classifier(self, digits):
        net, x, _ = digits
        expected = -net.relative_sharpness(x).mean(dtype=np.float64)
        assert neg_relative_sharpness_scorer(net, x) == near(expected, "net")
        assert neg_relative_sharpness_scorer(net.estimator, torch.as_tensor(x)) == near(expected, "net")

    def test_bad_input(self):
        x, y = data()
        with pytest.raises(UnknownNameError, match="did you mean 'paper'"):
            neg_relative_sharpness_scorer(LogisticRegression().fit(x, y), x, definition="papr")
        with pytest.raises(ValueError, match="not fitted"):
            neg_relative_sharpness_scorer(LogisticRegression(), x)
        with pytest.raises(UnsupportedEstimatorError, match="DecisionTree"):
            neg_relative_sharpness_scorer(DecisionTreeClassifier().fit(x, y), x)


class TestLossChangeRobustness:
    def test_binary_logistic_by_hand(self):
        # The worst point of an L∞ ball is its corner against the weight: the truth is known.
        x, y = data(k=2)
        fitted = LogisticRegression(C=100).fit(x, y)
        corner = x - 0.05 * np.sign(fitted.coef_) * (2 * y[:, None] - 1)
        change = loss(fitted, corner, y) - loss(fitted, x, y)
        for epsilon in (0.0, float(np.median(change)), 10.0):
            scorer = loss_change_robustness_scorer(delta=0.05, epsilon=epsilon)
            assert scorer(fitted, x, y) == pytest.approx((change <= epsilon).mean(), abs=1e-9)

    def test_against_the_points_of_the_attack(self, model):
        from art.estimators.classification import SklearnClassifier

        import art_flat as af

        x, y = data()
        fitted = model.fit(x, y)
        net = af.adapt(SklearnClassifier(fitted, clip_values=(0, 1)))
        points = af.load_attack("art_flat:PGD(steps=5)")(net, x, y, delta=0.5, norm="L2", seed=1).x
        change = loss(fitted, points, y) - loss(fitted, x, y)
        scorer = loss_change_robustness_scorer(
            delta="1/2", epsilon=1, norm="l2", attack="art_flat:PGD(steps=5)", clip_values=(0, 1), seed=1
        )
        assert 0 < (change <= 1).mean() < 1
        assert scorer(fitted, x, y) == pytest.approx((change <= 1).mean(), abs=1e-9)

    def test_worst_of_several_attacks(self, model):
        x, y = data()
        fitted = model.fit(x, y)
        single = [
            loss_change_robustness_scorer(delta=0.1, epsilon=0.1, attack=a)(fitted, x, y)
            for a in ("art_flat:UniformNoise", "art_flat:PGD(steps=5)")
        ]
        both = loss_change_robustness_scorer(
            delta=0.1, epsilon=0.1, attack=["art_flat:UniformNoise", "art_flat:PGD(steps=5)"]
        )
        assert both(fitted, x, y) <= min(single) < max(single)

    def test_failed_points_never_count_as_robust(self):
        x, y = data()
        fitted = LogisticRegression().fit(x, y)

        def broken(module, x, y):
            return torch.where(torch.arange(len(x))[:, None] < 30, torch.nan, x)

        def worst(module, x, y):
            return torch.full_like(x, torch.nan)

        assert loss_change_robustness_scorer(delta=1, epsilon=0, attack=broken)(fitted, x, y) == 1
        with pytest.raises(InputError, match="no attack finished"):
            loss_change_robustness_scorer(delta=1, epsilon=0, attack=worst)(fitted, x, y)

    def test_inside_cross_validate(self, model):
        x, y = data()
        names = np.array(["cat", "dog", "eel"])[y]
        scoring = {
            "tight": loss_change_robustness_scorer(delta=0.1, epsilon=0.01, attack="art_flat:PGD(steps=5)"),
            "loose": loss_change_robustness_scorer(delta=0.1, epsilon=5.0, attack="art_flat:PGD(steps=5)"),
            "flat": neg_relative_sharpness_scorer,
            "accuracy": "accuracy",
        }
        found = cross_validate(model, x, names, scoring=scoring, cv=3)
        assert (found["test_tight"] < found["test_loose"]).all()
        assert (found["test_loose"] == 1).all()
        assert np.isfinite(found["test_flat"]).all()
        assert check_scoring(model, scoring=scoring["tight"]) is scoring["tight"]

    def test_pickle(self, model):
        x, y = data()
        scorer = loss_change_robustness_scorer(delta=0.1, epsilon=0.1)
        again = pickle.loads(pickle.dumps(scorer))
        assert repr(again) == repr(scorer)
        assert "delta=0.1" in repr(scorer)
        assert again(model.fit(x, y), x, y) == scorer(model, x, y)

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"eps": 0.1}, ParameterError, "the radius is `delta`"),
            ({"delta": 0}, InputError, "`delta` must be greater than 0"),
            ({"epsilon": -1}, InputError, "`epsilon` must be at least 0"),
            ({"norm": "L3"}, UnknownNameError, "unknown norm 'L3'"),
            ({"attack": "art_flat:PDG"}, UnknownNameError, "did you mean 'art_flat:PGD'"),
        ],
    )
    def test_bad_parameters(self, options, error, words):
        with pytest.raises(error, match=words):
            loss_change_robustness_scorer(**({"delta": 0.1, "epsilon": 0.1} | options))

    def test_bad_input(self, model):
        x, y = data()
        scorer = loss_change_robustness_scorer(delta=0.1, epsilon=0.1)
        with pytest.raises(UnsupportedEstimatorError, match="transform X first"):
            scorer(make_pipeline(StandardScaler(), model).fit(x, y), x, y)
        with pytest.raises(InputError, match=r"label\(s\) 7, which .* was not fitted on"):
            scorer(model.fit(x, y), x, np.where(y == 0, 7, y))


class TestLabels:
    @pytest.mark.parametrize("model", [LogisticRegression(C=50), mlp()])
    @pytest.mark.parametrize("classes", [[1, 2, 3], [-1, 0, 7], ["a", "b", "c"], [0.5, 1.5, 2.5]])
    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_any_classes_score_as_indices(self, model, classes):
        x, indices = data()
        scorers = [loss_change_robustness_scorer(delta=0.1, epsilon=epsilon) for epsilon in (0.02, 0.1, 0.4)]

        def scores(estimator, y):
            return [scorer(estimator, x, y) for scorer in scorers]

        expected = scores(clone(model).fit(x, indices), indices)
        assert len(set(expected)) > 1
        labels = np.array(classes)[indices]
        if labels.dtype.kind == "f":
            labels = labels.astype(str)
        fitted = clone(model).fit(x, labels)
        for form in (labels, labels[:, None], labels.tolist(), np.eye(3)[indices]):
            assert scores(fitted, form) == expected

    def test_missing_and_unknown_labels(self):
        x, y = np.random.default_rng(0).random((30, 4)), np.arange(30) % 3 + 1
        model, scorer = LogisticRegression().fit(x, y), loss_change_robustness_scorer(delta=0.1, epsilon=0.1)
        for call in (lambda: scorer(model, x), lambda: scorer(model, x, None)):
            with pytest.raises(InputError, match="needs labels; pass `y`"):
                call()
        assert neg_relative_sharpness_scorer(model, x) == neg_relative_sharpness_scorer(model, x, y)
        with pytest.raises(InputError, match=r"label\(s\) 0, which LogisticRegression was not fitted on"):
            scorer(model, x, y - 1)
        with pytest.raises(InputError, match=r"label\(s\) nan, which"):
            scorer(model, x, np.where(y == 1, np.nan, y))
        with pytest.raises(InputError, match="soft labels"):
            scorer(model, x, np.full((30, 3), 1 / 3))
