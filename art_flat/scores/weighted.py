"""Weighted shares, quantiles and ratios of per-sample arrays; NaN is excluded."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

_SLACK = 1e-12
"""Relative rounding error of summed weights that a quantile tolerates: 0.7 · 10 means 7 of 10."""


def weighted_share(hit: Bools, among: Bools | None = None, weight: Floats | None = None) -> float:
    """Weighted share of some samples where `hit` holds.

    Args:
        hit: Whether it holds, shape (n,).
        among: The samples that count, shape (n,); all if None.
        weight: Sample weights, shape (n,); all 1 if None.

    Returns:
        The share, in [0, 1]; NaN if the samples that count weigh nothing.

    >>> weighted_share(np.array([True, False, True]), np.array([True, True, False]))
    0.5
    """
    included = np.ones(hit.shape) if weight is None else weight
    included = included if among is None else np.where(among, included, 0.0)
    total = included.sum()
    return float(np.where(hit, included, 0.0).sum() / total) if total > 0 else float("nan")


def robust_share(worst: Floats, epsilons: npt.ArrayLike, weight: Floats | None = None) -> Floats:
    """Weighted share of samples whose worst-case loss change is at most ε, for many ε by one sort.

    Args:
        worst: Worst-case loss changes, shape (n,), nats; NaN is left out.
        epsilons: Tolerated loss changes, shape (e,), nats.
        weight: Sample weights, shape (n,); all 1 if None.

    Returns:
        Shares in [0, 1], shape (e,); NaN if nothing is left.

    >>> robust_share(np.array([0.0, 0.3, 0.3, np.nan]), [0.0, 0.3])
    array([0.33333333, 1.        ])
    """
    limits = np.atleast_1d(np.asarray(epsilons, dtype=np.float64))
    ordered, cumulative = _sorted(worst, weight)
    if not cumulative.size or cumulative[-1] == 0:
        return np.full(limits.shape, np.nan)
    count = np.searchsorted(ordered, limits, side="right")
    share: Floats = np.where(count > 0, cumulative[count - 1], 0.0) / cumulative[-1]
    return share


def weighted_quantile(values: Floats, quantile: float, weight: Floats | None = None) -> float:
    """The smallest value such that values up to it have at least the share `quantile` of the weight.

    An order statistic: always one of the values, never a mean of two, so ±inf may be among them; the median
    of an even number of samples is the lower of the middle two.

    Args:
        values: Shape (n,); NaN is left out.
        quantile: In [0, 1].
        weight: Sample weights, shape (n,); all 1 if None.

    Returns:
        The quantile; NaN if nothing is left.

    >>> weighted_quantile(np.array([3.0, 1.0, np.inf, 2.0]), 0.5)
    2.0
    """
    ordered, cumulative = _sorted(values, weight)
    if not cumulative.size or cumulative[-1] == 0:
        return float("nan")
    wanted = quantile * cumulative[-1] * (1 - _SLACK)
    return float(ordered[np.searchsorted(cumulative, wanted, side="left" if wanted > 0 else "right")])


def exp_quantile(logarithms: Floats, quantile: float, weight: Floats) -> float:
    """Weighted quantile of numbers given by their logarithms; inf without a warning if it exceeds float64.

    Args:
        logarithms: Shape (n,); NaN is left out.
        quantile: In [0, 1].
        weight: Weights, the shape of `logarithms`.

    Returns:
        The quantile, in [0, inf]; NaN if nothing is left.
    """
    with np.errstate(over="ignore"):
        return float(np.exp(weighted_quantile(logarithms, quantile, weight)))


def median_by_key(key: Floats, values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """The weighted (lower) median of the values of every distinct key.

    Args:
        key: Shape (n,), no NaN.
        values: Shape (n,), no NaN.
        weight: Shape (n,), above 0.

    Returns:
        The distinct keys in order, and the median of each.

    >>> median_by_key(np.array([2.0, 1.0, 1.0]), np.array([5.0, 4.0, 3.0]), np.ones(3))
    (array([1., 2.]), array([3., 5.]))
    """
    order = np.lexsort((values, key))
    key, values, weight = key[order], values[order], weight[order]
    distinct, start = np.unique(key, return_index=True)
    cumulative = np.cumsum(weight)
    half = cumulative[start] - weight[start] + np.add.reduceat(weight, start) / 2
    middle = np.maximum(np.searchsorted(cumulative, half * (1 - _SLACK)), start)
    return distinct, values[middle]


def area_ratio(gain: Floats, best: Floats, weight: Floats) -> float:
    """Weighted sum of the gains, divided by that of the best; samples with a NaN are excluded.

    Args:
        gain: What one attack gained, shape (n,), from 0 to `best`.
        best: What the best gained, shape (n,).
        weight: Shape (n,).

    Returns:
        In [0, 1]; NaN if the best gained nothing.
    """
    included = np.where(np.isnan(gain) | np.isnan(best), 0.0, weight) > 0
    total = (weight[included] * best[included]).sum()
    return float((weight[included] * gain[included]).sum() / total) if total > 0 else float("nan")


def mean_ratio(gain: Floats, best: Floats, weight: Floats) -> float:
    """Weighted mean of gain/best over the samples with a positive best gain.

    Args:
        gain: What one attack gained, shape (n,), from 0 to `best`; NaN is left out.
        best: What the best gained, shape (n,).
        weight: Shape (n,).

    Returns:
        In [0, 1]; NaN if the best gained nothing.

    >>> mean_ratio(np.array([1.0, 0.0, np.inf]), np.array([2.0, 0.0, np.inf]), np.ones(3))
    0.75
    """
    included = (best > 0) & ~np.isnan(gain) & (weight > 0)
    gain, best, weight = gain[included], best[included], weight[included]
    with np.errstate(invalid="ignore"):
        ratio = np.where(gain == best, 1.0, gain / best)
    return float((weight * ratio).sum() / weight.sum()) if weight.size else float("nan")


def _sorted(values: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """The sorted values and their cumulative weights.

    Returns:
        Both of shape (number of values that are not NaN,).
    """
    included = ~np.isnan(values)
    if weight is None or (weight == 1).all():  # no need to know where each value came from
        ordered = np.sort(values[included])
        return ordered, np.arange(1.0, ordered.size + 1)
    values, weight = values[included], weight[included]
    order = np.argsort(values, kind="stable")
    return values[order], np.cumsum(weight[order])
