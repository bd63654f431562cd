"""Optimality against areas and means computed one sample and one radius at a time."""

import numpy as np
import pytest
from sampling import slow

from art_flat.errors import InputError
from art_flat.scores import distance_optimality_score, loss_optimality_score

RNG = np.random.default_rng(0)
INF, NAN = np.inf, np.nan


def area_above(distance, weight, limit, steps=20000):
    """∫₀ᵀ (1 − robust accuracy at δ) dδ by the midpoint rule."""
    radii = (np.arange(steps) + 0.5) * limit / steps
    return sum(np.average(distance <= r, weights=weight) for r in radii) * limit / steps


@pytest.mark.parametrize("limit", [None, slow(0.5), slow(3.0)])
def test_distances_against_areas_under_curves(limit):
    distances = RNG.exponential(size=(3, 15))
    distances[RNG.random(distances.shape) < 0.2] = INF
    weight = RNG.uniform(0.5, 2, 15)
    best = distances.min(axis=0)
    top = best[np.isfinite(best)].max() if limit is None else limit
    whole = area_above(best, weight, top)
    for own in distances:
        score = distance_optimality_score(own, distances, limit=limit, sample_weight=weight)
        assert score == pytest.approx(area_above(own, weight, top) / whole, abs=1e-3)
        assert 0 <= score <= 1
        others = [d for d in distances if d is not own]
        assert distance_optimality_score(own, others, limit=limit, sample_weight=weight) == pytest.approx(
            score
        )


def test_loss_against_one_sample_at_a_time():
    changes = RNG.normal(size=(4, 30)) * 10 ** RNG.uniform(-3, 3, 30)
    for own in changes:
        shares = [max(o, 0) / max(c) for o, c in zip(own, changes.T, strict=True) if max(c) > 0]
        assert loss_optimality_score(own, changes) == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("score", [distance_optimality_score, loss_optimality_score])
def test_best_is_one_and_nothing_is_zero(score):
    values = RNG.uniform(0.1, 1, (3, 10))
    nothing = np.full(10, INF) if score is distance_optimality_score else np.zeros(10)
    best = values.min(axis=0) if score is distance_optimality_score else values.max(axis=0)
    assert score(best, values) == 1
    assert score(nothing, values) == 0


@pytest.mark.parametrize("score", [distance_optimality_score, loss_optimality_score])
def test_order_and_whole_weights_do_not_matter(score):
    values = RNG.uniform(0.1, 1, (3, 10))
    order, times = RNG.permutation(10), RNG.integers(1, 4, 10)
    plain = score(values[0], values, sample_weight=times)
    assert score(values[0][order], values[:, order], sample_weight=times[order]) == pytest.approx(plain)
    many = np.repeat(values, times, axis=1)
    assert score(many[0], many) == pytest.approx(plain)


def test_a_smaller_distance_or_larger_loss_never_scores_less():
    values = RNG.uniform(0.1, 1, (3, 10))
    closer = values[0] * np.where(np.arange(10) == 3, 0.5, 1.0)
    assert distance_optimality_score(closer, values, limit=1) > distance_optimality_score(
        values[0], values, limit=1
    )
    higher = values[0] + 0.01
    assert loss_optimality_score(higher, values) > loss_optimality_score(values[0], values)


def test_what_is_left_out():
    assert distance_optimality_score([0.0, 0.5], [0.0, 0.25], limit=1) == pytest.approx(0.5 / 0.75)
    assert distance_optimality_score([NAN, 0.5], [0.1, 0.25], limit=1) == pytest.approx(0.5 / 0.75)
    assert distance_optimality_score([0.5], [NAN], limit=1) == 1
    assert loss_optimality_score([-1.0, 0.5, NAN], [-2.0, 1.0, 3.0]) == 0.5
    assert loss_optimality_score([INF, 1.0], [INF, INF]) == 0.5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: distance_optimality_score([INF], [INF]),
            "no attack found a wrong prediction below the limit",
        ),
        (lambda: distance_optimality_score([0.3, 0.3], [0.3, 0.3]), "a larger `limit` may help"),
        (lambda: distance_optimality_score([-0.3], [0.3]), "distances must be at least 0"),
        (lambda: distance_optimality_score([0.3], [0.3], limit=0), "`limit` must be greater than 0"),
        (lambda: distance_optimality_score([0.3], [[0.3, 0.2]]), "`others` must have shape"),
        (lambda: loss_optimality_score([0.0], [-1.0]), "no attack raised the loss"),
        (lambda: loss_optimality_score([[0.0]], [[-1.0]]), "`loss_change` must have shape"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(InputError, match=words):
        call()
