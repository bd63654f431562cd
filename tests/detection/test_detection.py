"""Detection by sharpness: correct numbers, and compatibility with scikit-learn and ART."""

import math
import pickle

import numpy as np
import pytest
import torch
from art.attacks.evasion import DeepFool
from art.defences.detector.evasion import EvasionDetector
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import estimator_checks
from tolerances import close

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.detection import (
    COLUMNS,
    FLOOR,
    SharpnessClassifier,
    SharpnessDetector,
    SharpnessTransformer,
    default_detectors,
    detection_table,
)
from art_flat.errors import InputError, ParameterError, UnknownNameError
from art_flat.testing import small_problem


@pytest.fixture(scope="module")
def problem():
    """A trained digits CNN with enough test images for five folds."""
    return small_problem(150)


@pytest.fixture(scope="module")
def points(problem):
    """Clean points and those of ART's DeepFool, which end just behind the decision boundary; labels 0 and 1."""
    net, x, _ = problem
    with net.guard():
        x_adv = DeepFool(net.estimator, max_iter=20, batch_size=150, verbose=False).generate(x)
    order = np.random.default_rng(0).permutation(2 * len(x))
    return np.concatenate([x, x_adv])[order], np.repeat([0, 1], len(x))[order]


class TestTransformer:
    @pytest.mark.parametrize("definition", ["paper", "neuronwise", "unsquared"])
    def test_factors_by_hand(self, problem, definition):
        net, x, _ = problem
        z, phi = (t.double() for t in net.outputs(x[:20]))
        w, p = net.head.weight.double(), z.softmax(dim=1)
        squares, gini = (phi**2).sum(dim=1), (p * (1 - p)).sum(dim=1)
        spread = ((w[:, None] - w[None]) ** 2).sum(dim=2)
        kappa = {
            "paper": (w**2).sum() * squares * gini,
            "neuronwise": squares * torch.einsum("ni,ij,nj->n", p, spread, p) / 2,
            "unsquared": (w**2).sum().sqrt() * squares * gini,
        }[definition]
        norm = (w**2).sum().sqrt().expand(20)
        expected = torch.stack([squares.sqrt(), gini, norm, kappa], dim=1).log()
        seen = SharpnessTransformer(net, definition=definition).transform(x[:20])
        usable = gini > 1e-9  # below, the obvious forms have lost their digits
        assert usable.sum() > 5
        np.testing.assert_allclose(seen[usable], expected[usable], **close("net", scale=10))
        assert seen.dtype == np.float64

    def test_columns_are_chosen_and_ordered(self, problem):
        net, x, _ = problem
        chosen = SharpnessTransformer(net, columns=["log_kappa", "log_gini"])
        everything = SharpnessTransformer(net).fit_transform(x)
        np.testing.assert_array_equal(chosen.fit_transform(x), everything[:, [3, 1]])
        assert list(chosen.get_feature_names_out()) == ["log_kappa", "log_gini"]
        assert list(chosen.set_output(transform="pandas").transform(x).columns) == ["log_kappa", "log_gini"]

    def test_rows_batches_and_kinds_of_input_do_not_matter(self, problem):
        net, x, _ = problem
        expected = SharpnessTransformer(net.estimator).transform(x[:9])
        for given in (x[:9].reshape(9, -1), torch.as_tensor(x[:9]), x[:9].astype(np.float64)):
            np.testing.assert_allclose(
                SharpnessTransformer(net, batch_size=4).transform(given), expected, **close("net", scale=10)
            )

    def test_no_sharpness_at_all_is_the_floor(self, linear):
        net = linear(torch.eye(3))
        factors = SharpnessTransformer(net).transform(np.zeros((2, 3)))
        assert (factors[:, [0, 3]] == FLOOR).all()
        np.testing.assert_allclose(factors[:, 1:3], [[math.log(2 / 3), math.log(3) / 2]] * 2)

    def test_clone_shares_the_classifier(self, problem):
        transformer = SharpnessTransformer(problem[0], definition="neuronwise", columns=("log_kappa",))
        copied = clone(transformer)
        assert copied is not transformer
        assert copied.classifier is problem[0]
        assert copied.get_params() == transformer.get_params()

    def test_pickling_an_adapter_is_refused(self, problem):
        with pytest.raises(TypeError, match="can be neither copied nor pickled"):
            pickle.dumps(SharpnessTransformer(problem[0]))

    @pytest.mark.parametrize(
        "check",
        [
            estimator_checks.check_estimator_cloneable,
            estimator_checks.check_estimator_repr,
            estimator_checks.check_get_params_invariance,
            estimator_checks.check_valid_tag_types,
            estimator_checks.check_mixin_order,
        ],
    )
    def test_checks_of_scikit_learn_that_need_no_data(self, check, linear):
        # The others make tables of any width, which no given classifier takes.
        check("SharpnessTransformer", SharpnessTransformer(linear(torch.eye(3))))

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            (
                {"columns": ["log_kapa"]},
                UnknownNameError,
                "unknown column 'log_kapa': did you mean 'log_kappa'",
            ),
            ({"columns": []}, InputError, "`columns` is empty"),
            ({"definition": "papr"}, UnknownNameError, "did you mean 'paper'"),
        ],
    )
    def test_bad_parameters(self, problem, options, error, words):
        with pytest.raises(error, match=words):
            SharpnessTransformer(problem[0], **options).fit(problem[1])

    def test_bad_inputs(self, problem):
        for method in ("fit", "transform"):
            with pytest.raises(InputError, match=r"must have shape \(n, 1, 8, 8\), got \(5, 7\)"):
                getattr(SharpnessTransformer(problem[0]), method)(np.zeros((5, 7)))


def columns_with_a_gap(n=30):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    return np.column_stack([rng.normal(size=n), 4.0 * y + rng.random(n)]), y


@estimator_checks.parametrize_with_checks([SharpnessClassifier(), SharpnessClassifier(LogisticRegression())])
def test_every_check_of_scikit_learn(estimator, check):
    check(estimator)


class TestClassifier:
    def test_stump_by_default(self):
        X, y = columns_with_a_gap()
        fitted = SharpnessClassifier().fit(X, y)
        assert fitted.estimator_.get_depth() == 1
        assert 1 < fitted.estimator_.tree_.threshold[0] < 4
        np.testing.assert_array_equal(fitted.predict(X), y)

    def test_what_was_given_is_not_fitted_itself(self):
        given = LogisticRegression()
        SharpnessClassifier(given).fit(*columns_with_a_gap())
        assert not hasattr(given, "coef_")

    def test_constant_features_are_a_guess(self):
        X, y = np.ones((40, 2)), np.tile([0, 1], 20)
        for detector, _ in default_detectors().values():
            assert cross_val_score(detector, X, y, cv=5).mean() == 0.5

    def test_minus_infinity_counts_as_the_floor(self):
        X, y = columns_with_a_gap()
        for value in (-np.inf, FLOOR):
            X[y == 0, 1] = value
            fitted = SharpnessClassifier().fit(X, y)
            assert fitted.estimator_.tree_.threshold[0] == pytest.approx((FLOOR + X[y == 1, 1].min()) / 2)
            np.testing.assert_array_equal(fitted.predict(X), y)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_other_infinities_are_refused(self, value):
        X, y = columns_with_a_gap()
        fitted = SharpnessClassifier().fit(X, y)
        X[3, 0] = value
        for call in (lambda: SharpnessClassifier().fit(X, y), lambda: fitted.predict(X)):
            with pytest.raises(ValueError, match=r"contains NaN|contains infinity"):
                call()

    def test_sample_weight_is_passed_on(self):
        X, y = np.zeros((4, 1)), np.array([0, 0, 0, 1])
        assert SharpnessClassifier().fit(X, y).predict(X)[0] == 0
        assert SharpnessClassifier().fit(X, y, sample_weight=[1, 1, 1, 9]).predict(X)[0] == 1

    def test_has_what_the_classifier_has(self):
        X, y = columns_with_a_gap()
        assert SharpnessClassifier().fit(X, y).predict_proba(X).shape == (30, 2)
        assert not hasattr(SharpnessClassifier(), "decision_function")
        assert SharpnessClassifier(SVC()).fit(X, y).decision_function(X).shape == (30,)
        assert not hasattr(SharpnessClassifier(SVC()), "predict_proba")

    def test_pickle(self):
        X, y = columns_with_a_gap()
        fitted = SharpnessClassifier(DecisionTreeClassifier(max_leaf_nodes=3)).fit(X, y)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))

    @pytest.mark.slow
    def test_pipeline_cross_validation_and_grid_search(self, problem, points):
        (x, y), net = points, problem[0]
        pipeline = make_pipeline(SharpnessTransformer(net, columns=["log_kappa"]), SharpnessClassifier())
        assert cross_val_score(pipeline, x, y, cv=5).mean() > 0.85
        grid = {
            "sharpnessclassifier__estimator": [None, make_pipeline(StandardScaler(), LogisticRegression())],
            "sharpnesstransformer__columns": [["log_weight_norm"], ["log_kappa"]],
        }
        search = GridSearchCV(pipeline, grid, cv=3).fit(x, y)
        assert search.best_params_["sharpnesstransformer__columns"] == ["log_kappa"]
        assert search.best_score_ > 0.85
        by_column = dict(
            zip(
                map(tuple, search.cv_results_["param_sharpnesstransformer__columns"]),
                search.cv_results_["mean_test_score"],
                strict=True,
            )
        )
        assert by_column["log_weight_norm",] == pytest.approx(0.5, abs=0.01)  # the same for every point


class TestDetector:
    def test_in_arts_form(self, problem, points):
        net, (x, y) = problem[0], points
        detector = SharpnessDetector(net.estimator)
        assert isinstance(detector, EvasionDetector)
        assert detector.fit(x[:200], np.eye(2)[y[:200]], batch_size=64, nb_epochs=3) is None
        report, is_adversarial = detector.detect(x[200:], batch_size=16)
        assert is_adversarial.dtype == bool
        assert (is_adversarial == y[200:]).mean() > 0.85
        assert report["predictions"].shape == (100, 2)
        np.testing.assert_array_equal(report["predictions"].argmax(axis=1) == 1, is_adversarial)
        np.testing.assert_allclose(
            report["log_relative_sharpness"], net.log_relative_sharpness(x[200:]), **close("net", scale=10)
        )

    def test_params(self, problem):
        net = problem[0]
        detector = SharpnessDetector(net, definition="neuronwise")
        assert detector.get_params() == {
            "classifier": net,
            "detector": None,
            "columns": ("log_kappa",),
            "definition": "neuronwise",
        }
        detector.set_params(definition="unsquared")
        assert detector.definition == "unsquared"
        with pytest.raises(UnknownNameError, match="did you mean 'paper'"):
            detector.set_params(definition="papr")

    def test_other_classifiers_and_columns(self, problem, points):
        net, (x, y) = problem[0], points
        given = SVC()
        detector = SharpnessDetector(net, given, columns=COLUMNS)
        detector.fit(x, y.astype(bool))
        assert not hasattr(given, "support_")
        report, is_adversarial = detector.detect(torch.as_tensor(x))
        assert (is_adversarial == y).mean() > 0.85
        np.testing.assert_array_equal(report["predictions"], np.eye(2)[is_adversarial.astype(int)])

    def test_weights_reach_the_classifier(self, problem, points):
        detector, (x, y) = SharpnessDetector(problem[0]), points
        detector.fit(x, y, sample_weight=(y == 1).astype(float))
        assert detector.detect(x)[1].all()

    def test_not_fitted(self, problem):
        with pytest.raises(NotFittedError, match=r"not fitted; call fit\(x, y\)"):
            SharpnessDetector(problem[0]).detect(problem[1])

    def test_bad_labels(self, problem):
        net, x, y = problem
        with pytest.raises(InputError, match="labels from 0 to 9"):
            SharpnessDetector(net).fit(x, y)
        with pytest.raises(InputError, match="3 labels for 150 samples"):
            SharpnessDetector(net).fit(x, [0, 1, 1])


class TestTable:
    def test_sharp_points_are_found_and_flat_ones_are_not(self, problem):
        table = detection_table(*problem, "art_flat:PGD(steps=20)", [0.1, 0.3])
        assert table["delta"].tolist() == [0.1, 0.3]
        assert set(table["norm"]) == {"Linf"}
        near, far = table.iloc[0], table.iloc[1]
        assert near["log_kappa_change"] > 2 > abs(far["log_kappa_change"])
        for detector in ("stump", "two_thresholds", "logistic_regression"):
            assert near[detector] > 0.65
            assert abs(far[detector] - 0.5) < 0.15

    @pytest.mark.slow
    def test_points_at_the_boundary_are_found_best(self, problem):
        net = problem[0]
        row = detection_table(
            *problem, DeepFool(net.estimator, max_iter=20, batch_size=150, verbose=False), 5, norm="L2"
        )
        assert row["n"][0] > 100
        assert row["stump"][0] > 0.9

    def test_balanced_accuracy_by_hand(self, problem):
        net, x, y = problem
        attack = af.load_attack("art_flat:PGD(steps=5)")
        result = attack(net, x, y, delta=0.5, norm="L2", seed=3)
        kept = result.success & (net.predict(x) == y)
        table = detection_table(
            *problem, attack, ["1/2"], norm="L2", seed=3, detectors={"mine": (Sharper(), ["log_kappa"])}
        )
        higher = net.log_relative_sharpness(result.x[kept]) > 0
        lower = net.log_relative_sharpness(x[kept]) <= 0
        assert table["n"][0] == kept.sum() > 5
        assert table["mine"][0] == pytest.approx((higher.mean() + lower.mean()) / 2, abs=0.02)

    def test_the_same_points_cannot_be_told_apart(self, problem):
        table = detection_table(*problem, as_attack(lambda m, x, y: x, name="nothing"), 0.1, successful=False)
        assert table["n"][0] == 150
        assert table["log_kappa_change"][0] == 0
        for detector in default_detectors():
            assert table[detector][0] == pytest.approx(0.5, abs=1e-9)

    def test_too_few_pairs(self, problem):
        row = detection_table(*problem, "art_flat:UniformNoise", 1e-4).iloc[0]
        assert row["n"] == 0
        assert math.isnan(row["stump"])

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"attack": ["art_flat:PGD", "art_flat:APGD"]}, InputError, "names 2 attacks; pass one"),
            ({"folds": 1}, InputError, "`folds` must be a whole number of at least 2, got 1"),
            ({"deltas": [-1]}, InputError, "`delta` must be greater than 0"),
            ({"eps": 0.1}, ParameterError, "the radius is `delta`"),
        ],
    )
    def test_bad_input(self, problem, options, error, words):
        options = {"attack": "art_flat:PGD(steps=1)", "deltas": [0.1]} | options
        with pytest.raises(error, match=words):
            detection_table(*problem, **options)


class Sharper(DecisionTreeClassifier):
    """Adversarial means log κ above 0, whatever it is fitted on."""

    def predict(self, X, check_input=True):
        return (np.asarray(X)[:, 0] > 0).astype(int)
