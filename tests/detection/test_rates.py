"""True positive rates at a fixed false positive rate, by hand, and attacks that know the detector."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import art_flat as af
from art_flat.detection import SharpnessClassifier, SharpnessDetector, default_detectors, detection_table
from art_flat.detection._rates import detector_scores, threshold_at
from art_flat.errors import InputError
from art_flat.testing import small_problem

PLAIN = "art_flat:APGD(objective='sharp', steps=10)"
"""Points at the boundary, which are sharper than clean ones."""


@pytest.fixture(scope="module")
def problem():
    return small_problem(150)


@pytest.fixture(scope="module")
def halves(problem):
    net, x, y = problem
    return net, (x[:75], y[:75]), (x[75:], y[75:])


@pytest.fixture(scope="module")
def detector(halves):
    net, (x, y), _ = halves
    found = af.load_attack(PLAIN)(net, x, y, delta=0.3)
    fitted = SharpnessDetector(net)
    fitted.fit(np.concatenate([x, found.x]), np.repeat([0, 1], len(x)))
    return fitted


def test_rates_by_hand(halves, detector):
    net, _, (x, y) = halves
    rates = detector.true_positive_rates(
        x, y, PLAIN, delta=0.3, false_positive_rate=0.1, adaptive=False, seed=2
    )
    found = af.load_attack(PLAIN)(net, x, y, delta=0.3, seed=2)
    pairs = found.success & (net.predict(x) == y)
    clean, adversarial = net.log_relative_sharpness(x), net.log_relative_sharpness(found.x)
    threshold = np.sort(clean)[int(np.ceil(0.9 * len(x))) - 1]
    assert (clean > threshold).mean() <= 0.1
    assert rates.n == pairs.sum() > 30
    assert rates.plain == pytest.approx((adversarial[pairs] > threshold).mean())
    assert np.isnan(rates.adaptive)
    assert [finding.id for finding in rates.findings] == ["detector-not-attacked"]
    assert PLAIN in str(rates.findings[0])


def test_an_attack_that_knows_the_detector_is_not_found(halves, detector):
    _, _, (x, y) = halves
    rates = detector.true_positive_rates(x, y, PLAIN, delta=0.3, false_positive_rate=0.1)
    assert rates.plain > 0.5
    assert rates.adaptive < 0.2
    assert "within={'log_kappa'" in rates.adaptive_attack
    assert rates.findings == ()


@pytest.mark.parametrize("adaptive", [True, False])
def test_table(problem, adaptive):
    net, x, y = problem
    table = detection_table(net, x[:40], y[:40], PLAIN, [1e-4, 0.3], adaptive=adaptive)
    none, near = table.iloc[0], table.iloc[1]
    for name in default_detectors():
        assert near[f"{name}_tpr"] > 0.4
        assert np.isnan(none[f"{name}_tpr"])
        assert np.isnan(none[f"{name}_adaptive_tpr"])
        if adaptive:
            assert near[f"{name}_adaptive_tpr"] < 0.25
        else:
            assert np.isnan(near[f"{name}_adaptive_tpr"])
    assert [finding.id for finding in table.attrs["findings"]] == (
        [] if adaptive else ["detector-not-attacked"]
    )


@pytest.mark.parametrize("leaves", [2, 3, 6])
def test_tree_scores_are_distances_to_the_nearest_change(leaves):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1))
    y = (np.abs(X[:, 0]) > 1).astype(int)
    tree = SharpnessClassifier(DecisionTreeClassifier(max_leaf_nodes=leaves)).fit(X, y)
    line = np.linspace(-6, 6, 120001)
    changes = line[np.flatnonzero(np.diff(tree.predict(line[:, None])))]
    points = rng.uniform(-3, 3, (50, 1))
    scores = detector_scores(tree, points)
    np.testing.assert_array_equal(scores > 0, tree.predict(points) == 1)
    np.testing.assert_allclose(np.abs(scores), np.abs(points - changes).min(axis=1), atol=2e-4)


def test_scores_of_other_classifiers():
    X, y = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2
    logistic = LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(detector_scores(logistic, X), logistic.decision_function(X))
    tree = DecisionTreeClassifier(max_depth=2).fit(X, y)
    np.testing.assert_array_equal(detector_scores(tree, X), tree.predict_proba(X)[:, 1])


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
def test_at_most_this_share_of_clean_points_is_flagged(rate):
    clean = np.random.default_rng(1).normal(size=137).round(1)
    assert (clean > threshold_at(clean, rate)).mean() <= rate


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_bad_rate(problem, rate):
    with pytest.raises(InputError, match="false_positive_rate"):
        detection_table(*problem, PLAIN, 0.1, false_positive_rate=rate)
