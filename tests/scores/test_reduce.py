"""The per-sample reducers that scores and summary tables share, against loops and NumPy's own quantile."""

import math
import time

import numpy as np
import pytest

from art_flat.scores.reduce import (
    any_adversarial,
    evaluated_samples,
    loss_change_at,
    masked_min,
    smallest_increase,
    worst_case_loss_change,
)
from art_flat.scores.weighted import median_by_key, robust_share, weighted_quantile, weighted_share

NAN, INF = math.nan, math.inf


def test_loss_changes_of_single_points():
    clean, adv = np.array([1.0, 1.0, 1.0, NAN]), np.array([1.5, 0.5, NAN, 1.0])
    np.testing.assert_array_equal(loss_change_at(clean, adv), [0.5, -0.5, INF, INF])
    inside = np.array([False, True, False, False])
    np.testing.assert_array_equal(loss_change_at(clean, adv, inside), [0.0, -0.5, 0.0, INF])
    np.testing.assert_array_equal(loss_change_at(clean, adv, None, inside), [NAN, -0.5, NAN, INF])


def test_the_worst_case_is_the_largest_change_and_at_least_zero():
    clean = np.array([1.0, 1.0, 1.0, NAN, INF])
    adv = np.array([[1.2, 0.5, NAN, 1.0, INF], [1.4, NAN, NAN, 1.0, 2.0]])
    np.testing.assert_allclose(worst_case_loss_change(clean, adv), [0.4, INF, INF, INF, INF])
    np.testing.assert_allclose(worst_case_loss_change(clean, adv[0]), [0.2, 0.0, INF, INF, INF])
    first = np.array([[True] * 5, [False] * 5])
    np.testing.assert_allclose(worst_case_loss_change(clean, adv, first)[:2], [0.2, 0.0])
    np.testing.assert_allclose(worst_case_loss_change(clean, adv, None, first)[:2], [0.2, 0.0])
    never = np.zeros((2, 5), dtype=bool)
    np.testing.assert_allclose(worst_case_loss_change(clean, adv, None, never), [NAN, NAN, NAN, INF, NAN])


@pytest.mark.parametrize("weighted", [False, True])
def test_robust_share_equals_a_loop_over_epsilons(weighted):
    rng = np.random.default_rng(0)
    worst = rng.integers(0, 8, 200) / 8  # many ties
    worst[::7] = NAN
    weight = rng.random(200) if weighted else None
    w = [1.0] * 200 if weight is None else weight
    epsilons = [1.0, 0.0, 0.125, 0.3, -0.1, 0.999]  # in no order
    expected = [
        sum(w[i] for i in range(200) if worst[i] <= e) / sum(w[i] for i in range(200) if worst[i] == worst[i])
        for e in epsilons
    ]
    np.testing.assert_allclose(robust_share(worst, epsilons, weight), expected, rtol=1e-12)


def test_nothing_left_is_nan():
    none, zero = np.array([NAN, NAN]), np.zeros(2)
    assert np.isnan(robust_share(none, [0.1, 0.2])).tolist() == [True, True]
    assert np.isnan(robust_share(zero, [0.1], zero)).all()
    assert math.isnan(weighted_quantile(none, 0.5))
    assert math.isnan(weighted_quantile(zero, 0.5, zero))
    assert math.isnan(weighted_share(zero == 0, zero == 1))


@pytest.mark.parametrize("quantile", [0.0, 0.2, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("n", [1, 2, 9, 10])
def test_quantile_equals_numpys_inverted_distribution(n, quantile):
    rng = np.random.default_rng(n)
    values, weight = rng.normal(size=n), rng.random(n) + 0.1
    assert weighted_quantile(values, quantile) == np.quantile(values, quantile, method="inverted_cdf")
    expected = np.quantile(values, quantile, method="inverted_cdf", weights=weight)
    assert weighted_quantile(values, quantile, weight) == expected
    padded, padding = np.append(values, [NAN, -INF]), np.append(weight, [5.0, 0.0])
    assert weighted_quantile(padded, quantile, padding) == expected


def test_quantile_forgives_rounding_of_shares_and_weights():
    values = np.arange(1.0, 11.0)
    for tenth in range(1, 11):
        assert weighted_quantile(values, tenth / 10) == tenth
        assert weighted_quantile(values, tenth / 10, np.full(10, 0.1)) == tenth
    assert weighted_quantile(values, 0.7 + 1e-9) == 8


def test_quantile_may_be_infinite():
    values = np.array([INF, 1.0, -INF, INF])
    assert [weighted_quantile(values, q) for q in (0.25, 0.5, 0.75)] == [-INF, 1.0, INF]


def test_least_is_found_or_infinite():
    values = np.array([[0.3, 0.3, 0.3, NAN], [0.1, 0.1, 0.1, 0.4]])
    where = np.array([[True, True, False, False], [True, False, False, False]])
    np.testing.assert_array_equal(masked_min(values, where), [0.1, 0.3, INF, INF])
    np.testing.assert_array_equal(masked_min(values[0], where[0]), [0.3, 0.3, INF, INF])


def test_evaluated_are_those_that_an_attack_finished_or_undefined_when_clean():
    clean, finished = np.array([0.0, 0.0, 0.0, NAN]), np.array([[1, 0, 0, 0], [0, 0, 1, 0]], dtype=bool)
    assert evaluated_samples(clean, finished).tolist() == [True, False, True, True]
    assert evaluated_samples(clean, finished[0]).tolist() == [True, False, False, True]
    assert any_adversarial(finished).tolist() == [True, False, True, False]
    assert any_adversarial(finished[0]).tolist() == [True, False, False, False]


def test_the_smallest_increase_is_unknown_where_only_undefined_outputs_are_wrong():
    increase, wrong = np.array([0.2, INF, INF, INF]), np.array([False, False, True, False])
    undefined = np.array([True, True, True, False])
    np.testing.assert_array_equal(smallest_increase(increase, wrong, undefined), [0.2, NAN, 0.0, INF])


def test_median_by_key_equals_a_loop():
    rng = np.random.default_rng(1)
    key, values, weight = rng.integers(0, 30, 300) / 10, rng.normal(size=300), rng.integers(1, 5, 300) * 0.1
    distinct, medians = median_by_key(key, values, weight)
    assert distinct.tolist() == sorted(set(key.tolist()))
    for k, median in zip(distinct, medians, strict=True):
        same = key == k
        times = np.round(weight[same] * 10).astype(int)
        written = sorted(values[same].repeat(times))
        assert median == written[(len(written) - 1) // 2]


@pytest.mark.slow
def test_a_summary_of_a_million_and_a_half_records_takes_under_two_seconds():
    rng = np.random.default_rng(0)
    clean, adv = rng.exponential(size=(2, 1_500_000))
    weight, epsilons = rng.random(1_500_000), np.linspace(0, 5, 50)
    begin = time.perf_counter()
    shares = robust_share(worst_case_loss_change(clean, adv), epsilons, weight)
    assert time.perf_counter() - begin < 2
    assert (np.diff(shares) > 0).all()
