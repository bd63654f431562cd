"""The smallest loss increase and distance with a wrong prediction, against loops."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_flat.errors import InputError
from art_flat.scores import (
    minimum_adversarial_distance,
    minimum_loss_increase,
    robust_accuracy_score,
    wrong_prediction_found_fraction,
)

NAN, INF = math.nan, math.inf
QUANTILES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def case(seed, n=12, k=3, m=3, nan=0.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    z = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[y]
    z_adv = z + rng.normal(size=(m, n, k))
    distance = np.abs(rng.normal(size=(m, n)))
    z[rng.random(n) < nan, 0] = NAN
    z_adv[rng.random((m, n)) < nan, -1] = NAN
    distance[rng.random((m, n)) < nan] = NAN
    return y, z, z_adv, distance


def loss(z, y):
    top = max(z)
    return top + math.log(sum(math.exp(v - top) for v in z)) - z[y]


def wrong(z, y):
    return is_nan(z) or list(z).index(max(z)) != y


def is_nan(row):
    return any(math.isnan(v) for v in row)


def quantile_by_counting(values, times, quantile):
    """The value at place ⌈q · N⌉ of the values written out as often as they count."""
    written = sorted(v for v, t in zip(values, times, strict=True) for _ in range(t))
    return written[max(math.ceil(Fraction(str(quantile)) * len(written)), 1) - 1]


def brute_force(value, y, z, z_adv, admissible, finished, times, quantile):
    """Undefined outputs are wrong; `value` gives None where what they cost is not known, NaN where nothing is."""
    smallest, counts = [], []
    for i in range(len(y)):
        points = [a for a in range(len(z_adv)) if finished[a][i] and not is_nan([value(a, i) or 0.0])]
        if not points and not is_nan(z[i]):
            continue
        found = [value(a, i) for a in points if admissible[a][i] and wrong(z_adv[a][i], y[i])]
        known = [v for v in found if v is not None] + ([0.0] if wrong(z[i], y[i]) else [])
        if None in found and not known:
            continue
        smallest.append(min([*known, INF]))
        counts.append(times[i])
    return quantile_by_counting(smallest, counts, quantile)


@pytest.mark.parametrize("quantile", QUANTILES)
@pytest.mark.parametrize("seed", range(3))
def test_both_equal_a_loop(seed, quantile):
    y, z, z_adv, distance = case(seed, n=40, nan=0.1)
    rng = np.random.default_rng(seed)
    admissible, times = rng.random((3, 40)) < 0.8, rng.integers(0, 4, 40)
    finished = rng.random((3, 40)) < 0.7
    masks = {"admissible": admissible, "finished": finished}
    options = {"quantile": quantile, "sample_weight": times, **masks}

    def increase(a, i):
        if is_nan(z[i]) or is_nan(z_adv[a][i]):
            return None
        return loss(z_adv[a][i], y[i]) - loss(z[i], y[i])

    expected = brute_force(increase, y, z, z_adv, admissible, finished, times, quantile)
    assert minimum_loss_increase(y, z, z_adv, **options) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    expected = brute_force(lambda a, i: distance[a][i], y, z, z_adv, admissible, finished, times, quantile)
    assert minimum_adversarial_distance(y, z_adv, distance, logits=z, **options) == expected


@given(seed=seeds)
@few
def test_no_wrong_prediction_is_cheaper_than_log_two(seed):
    y, z, z_adv, _ = case(seed)
    for i in range(12):
        bound = math.log(2) - loss(z[i], y[i])
        assert minimum_loss_increase(y[i : i + 1], z[i : i + 1], z_adv[:, i : i + 1]) >= bound - 1e-12


@given(seed=seeds)
@few
def test_quantiles_are_infinite_above_the_share_found(seed):
    y, z, z_adv, distance = case(seed, n=20)
    share = wrong_prediction_found_fraction(y, z, z_adv)
    assert share == pytest.approx(1 - robust_accuracy_score(y, z, z_adv))
    for quantile in QUANTILES:
        finite = quantile <= share + 1e-9 and share > 0
        assert math.isfinite(minimum_loss_increase(y, z, z_adv, quantile=quantile)) == finite
        got = minimum_adversarial_distance(y, z_adv, distance, logits=z, quantile=quantile)
        assert math.isfinite(got) == finite


@given(seed=seeds)
@few
def test_more_attacks_only_lower_them(seed):
    y, z, z_adv, distance = case(seed, m=4)
    increases = [minimum_loss_increase(y, z, z_adv[:m]) for m in (1, 2, 3, 4)]
    distances = [minimum_adversarial_distance(y, z_adv[:m], distance[:m]) for m in (1, 2, 3, 4)]
    assert increases == sorted(increases, reverse=True)
    assert distances == sorted(distances, reverse=True)


@given(seed=seeds)
@few
def test_order_weights_and_form_of_the_input(seed):
    y, z, z_adv, distance = case(seed)
    rng = np.random.default_rng(seed)
    order, times = rng.permutation(12), rng.integers(1, 4, 12)
    for score, args in (
        (minimum_loss_increase, (z, z_adv)),
        (minimum_adversarial_distance, (z_adv, distance)),
    ):
        axes = [1 if len(a) == 3 else 0 for a in args]
        expected = score(y, *args)
        assert score(y[order], *(a.take(order, axis=x) for a, x in zip(args, axes, strict=True))) == expected
        assert (
            score(np.eye(3)[y], *map(torch.tensor, args))
            == score(y.tolist(), *(a.tolist() for a in args))
            == expected
        )
        repeated = score(y.repeat(times), *(a.repeat(times, axis=x) for a, x in zip(args, axes, strict=True)))
        assert score(y, *args, sample_weight=times) == score(y, *args, sample_weight=0.1 * times) == repeated
        assert type(expected) is float


def test_a_wrong_prediction_may_come_with_a_smaller_loss():
    expected = loss([0.6, 0.7, -5.0], 0) - loss([0.6, 0.1, 0.1], 0)
    assert expected < 0
    assert minimum_loss_increase([0], [[0.6, 0.1, 0.1]], [[0.6, 0.7, -5.0]]) == pytest.approx(
        expected, rel=1e-12
    )
    assert minimum_loss_increase([0], [[0.6, 0.1, 0.1]], [[0.6, 0.5, 0.5]]) == INF


def test_a_sample_wrong_when_clean_costs_nothing():
    y, z, costlier, cheaper, right = [0], [[0.0, 1.0]], [[0.0, 2.0]], [[0.0, 0.5]], [[1.0, 0.0]]
    assert minimum_loss_increase(y, z, costlier) == minimum_loss_increase(y, z, right) == 0.0
    assert minimum_loss_increase(y, z, cheaper) == pytest.approx(loss(cheaper[0], 0) - loss(z[0], 0))
    assert minimum_adversarial_distance(y, costlier, [0.3], logits=z) == 0.0
    assert minimum_adversarial_distance(y, right, [0.3], logits=z) == 0.0
    assert minimum_adversarial_distance(y, costlier, [0.3]) == 0.3
    assert minimum_adversarial_distance(y, right, [0.3]) == INF


def test_the_median_is_one_of_the_values_and_never_half_infinite():
    y, z_adv = [0, 0], [[0.0, 1.0], [1.0, 0.0]]
    assert minimum_adversarial_distance(y, z_adv, [0.25, 0.1]) == 0.25
    assert minimum_adversarial_distance(y, z_adv, [0.25, 0.1], quantile=0.51) == INF
    assert minimum_adversarial_distance(y, z_adv, [0.25, 0.1], admissible=[False, True]) == INF


def test_an_undefined_output_is_wrong_at_its_distance_and_at_an_unknown_increase():
    y, z, z_adv = [0, 0, 0], [[1.0, 0.0]] * 3, [[0.0, 1.0], [0.0, 2.0], [NAN, 1.0]]
    assert minimum_adversarial_distance(y, z_adv, [0.2, NAN, 0.1], quantile=0.5) == 0.1
    assert (
        minimum_adversarial_distance(y, z_adv, [0.2, 0.3, 0.1], logits=[[NAN, 0.0], *z[1:]], quantile=0.0)
        == 0
    )
    assert minimum_loss_increase(y, z, z_adv, quantile=1.0) == pytest.approx(
        loss([0.0, 2.0], 0) - loss(z[0], 0)
    )
    with pytest.raises(InputError, match="left to score: no attack finished, or only undefined outputs"):
        minimum_loss_increase(y, z, np.full((3, 2), NAN))
    with pytest.raises(InputError, match="no attack finished, or every distance is NaN"):
        minimum_adversarial_distance(y, z_adv, [NAN] * 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantile": 1.5}, "`quantile` must be between 0 and 1, got 1.5"),
        ({"quantile": -0.1}, "`quantile` must be at least 0"),
        ({"quantile": NAN}, "`quantile` must be finite"),
        ({"admissible": [1]}, "`admissible` must be booleans"),
        ({"sample_weight": [1, 2]}, "`sample_weight` must have shape"),
    ],
)
def test_bad_options_say_what_is_wrong(options, words):
    with pytest.raises(InputError, match=words):
        minimum_loss_increase([0], [[1.0, 0.0]], [[1.0, 0.0]], **options)
    with pytest.raises(InputError, match=words):
        minimum_adversarial_distance([0], [[1.0, 0.0]], [0.1], **options)


@pytest.mark.parametrize(
    ("distance", "words"),
    [([-0.1], "`distance` must be at least 0, got -0.1"), ([0.1, 0.2], r"`distance` must have shape \(1,\)")],
)
def test_bad_distances_say_what_is_wrong(distance, words):
    with pytest.raises(InputError, match=words):
        minimum_adversarial_distance([0], [[1.0, 0.0]], distance)
