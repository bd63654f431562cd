"""One cell of the summary per radius, for the rows of one attack or of all.

A point counts at every radius that contains it, not only at the one it was made for. The radii are visited in
increasing order and each adds the points that no smaller one contains: the work grows with the rows, not with rows
times radii.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..functional.loss_change import flip_cost
from ..records.model_records import CONFIDENT, ModelRecords, order_of
from ..scores import reduce, weighted
from ..typing import Norm


def by_radius(
    rows: ModelRecords, chosen: np.ndarray, norm: Norm, grid: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each radius in increasing order, the rows made for it, and the rows that no smaller ball contains.

    Args:
        rows: All rows of a model.
        chosen: Indices of the rows to consider.
        norm: Norm of the ball.
        grid: Radii, sorted, shape (r,).

    Yields:
        Row indices, sorted: rows run for (norm, δ) or without a budget in this norm, and the rows with a known
        loss change that are in this ball and in no smaller one.
    """
    here = chosen[rows.norm[chosen] == rows.code_of("norm", norm)]
    own = np.searchsorted(grid, rows.delta[here])  # no budget: behind the last radius
    free = np.isnan(rows.delta[here])
    fits = ~free & (grid[np.minimum(own, grid.size - 1)] == rows.delta[here])
    free, made = here[free], _buckets(here[fits], own[fits], grid.size)
    finite = chosen[~np.isnan(rows.change[chosen])]
    first = np.searchsorted(grid, rows.length[norm][finite])
    new = _buckets(finite[first < grid.size], first[first < grid.size], grid.size)
    for j in range(grid.size):
        yield (np.union1d(free, made[j]) if free.size else made[j]), new[j]


def cells(
    rows: ModelRecords,
    chosen: np.ndarray,
    norm: Norm,
    radii: Sequence[float],
    epsilons: Sequence[float],
    earlier: np.ndarray | None = None,
) -> Iterator[tuple[float, dict[str, Any]]]:
    """The scores of some rows at every radius for which one of them was computed.

    Args:
        rows: All rows of a model.
        chosen: Indices of the rows to score.
        earlier: Indices of the rows of earlier steps of the same sequence: scores are those after this step, over all
            samples of the sequence; counts of points, cost and passes are of `chosen` alone.
        norm: Norm of the ball.
        radii: Radii in clip units.
        epsilons: Tolerated loss changes, nats.

    Yields:
        δ, and the columns of the summary from `n_evaluated` on.
    """
    grid, n = np.array(sorted(radii), dtype=np.float64), rows.label.size
    fooled, moved, unknown = ~rows.right, rows.clean_undefined.copy(), np.zeros(n, bool)
    reached = np.zeros(n, bool)
    worst, least = np.where(rows.clean_undefined, np.inf, 0.0), np.where(rows.right, np.inf, 0.0)
    scored = chosen if earlier is None else np.union1d(chosen, earlier)
    for delta, (own, new) in zip(grid.tolist(), by_radius(rows, scored, norm, grid), strict=True):
        at, change = rows.position[new], rows.change[new]
        np.maximum.at(worst, at, change)
        moved[at[(rows.pred[new] != rows.clean_pred[at]) | rows.undefined[new]]] = True
        reached[at[rows.on_target[new]]] = True
        wrong = rows.wrong[new]
        fooled[at[wrong]] = True
        np.minimum.at(least, at[wrong], change[wrong])
        unknown[at[rows.undefined[new]]] = True
        made = own if earlier is None else np.intersect1d(own, chosen)
        if made.size:
            increase = reduce.smallest_increase(least, ~rows.right, unknown)
            found = (worst, increase, fooled, moved, reached)
            yield delta, _cell(rows, own, made, norm, delta, epsilons, found)


def _buckets(rows: np.ndarray, bucket: np.ndarray, size: int) -> list[np.ndarray]:
    order = order_of(bucket)
    bucket = bucket[order]
    return np.split(rows[order], np.searchsorted(bucket, np.arange(1, size)))


def _cell(
    rows: ModelRecords,
    own: np.ndarray,
    made: np.ndarray,
    norm: Norm,
    delta: float,
    epsilons: Sequence[float],
    found: tuple[np.ndarray, ...],
) -> dict[str, Any]:
    status = rows.status[own]
    finished = own[~np.isnan(rows.change[own])]
    measured = own[rows.measured[own]]
    attempted = _samples(rows, own[status != rows.code_of("status", "skipped")])
    evaluated = _samples(rows, finished) | (attempted & rows.clean_undefined)
    worst, least, fooled, moved, reached = found
    worst, least = (np.where(evaluated, values, np.nan) for values in (worst, least))
    lower = np.where(evaluated, flip_cost(rows.clean_loss), np.nan)
    failed = (rows.status[made] == rows.code_of("status", "failed")) | rows.undefined[made]
    ran = made[rows.measured[made]]
    w = rows.weight

    def share(hit: np.ndarray, among: np.ndarray = evaluated) -> float:
        return weighted.weighted_share(hit, among, w)

    robust = weighted.robust_share(worst, list(epsilons), w)
    return {
        "n_evaluated": int(evaluated.sum()),
        "n_failed": int(failed.sum()),
        "n_skipped": int((rows.status[made] == rows.code_of("status", "skipped")).sum()),
        "n_unfinished": int((_samples(rows, own) & ~evaluated).sum()),
        "fallback": _mean(rows.status[ran] == rows.code_of("status", "fallback")),
        "accuracy": share(rows.right),
        "robust_accuracy": share(~fooled),
        "robust_accuracy_on_correct": share(~fooled, evaluated & rows.right),
        "prediction_robustness": share(~moved),
        "target_success": share(reached) if np.isfinite(rows.target[own]).any() else np.nan,
        **{f"loss_change_robustness@{e:g}": float(r) for e, r in zip(epsilons, robust, strict=True)},
        **_certified(rows, norm, delta, epsilons, evaluated),
        "minimum_loss_increase": weighted.weighted_quantile(least, 0.5, w),
        "minimum_loss_increase_bound": weighted.weighted_quantile(lower, 0.5, w),
        "wrong_found": share(fooled),
        **_flatness(rows, measured[rows.length[norm][measured] <= delta], evaluated),
        **_bounds(rows, measured),
        "seconds": float(np.nansum(rows.cost["seconds"][made])),
        **{c: _mean(rows.cost[c][ran]) for c in ("forwards", "backwards")},
    }


def _samples(rows: ModelRecords, chosen: np.ndarray) -> np.ndarray:
    """Mask of the samples of the given rows, bool (n,)."""
    found = np.zeros(rows.label.size, bool)
    found[rows.position[chosen]] = True
    return found


def _certified(
    rows: ModelRecords, norm: Norm, delta: float, epsilons: Sequence[float], evaluated: np.ndarray
) -> dict[str, Any]:
    """Certified shares of the evaluated samples (the lower ends of the brackets), and the kinds of bounds."""
    found = rows.certificate(norm, delta)
    if found is None:
        nothing = {**{f"certified@{e:g}": np.nan for e in epsilons}, "certified_accuracy": np.nan}
        return {**nothing, "bound_kind": None, "lipschitz_kind": None}
    share = weighted.robust_share(np.where(evaluated, found.bound, np.nan), list(epsilons), rows.weight)
    return {
        **{f"certified@{e:g}": float(s) for e, s in zip(epsilons, share, strict=True)},
        "certified_accuracy": weighted.weighted_share(found.label_kept, evaluated, rows.weight),
        "bound_kind": found.kind,
        "lipschitz_kind": found.lipschitz,
    }


def _bounds(rows: ModelRecords, measured: np.ndarray) -> dict[str, float]:
    """Comparison of the measured loss increase with the bound at the feature shift and with the paper's bound."""
    rounding, moved, paper = (values[measured] for values in rows.bounds)
    change, bound = rows.change[measured], rows.bound[measured]
    tight = (change > rounding) & (bound > 0)
    return {
        "bound_violations": int((change > bound + rounding).sum()),
        "bound_tightness": weighted.weighted_quantile(change[tight] / bound[tight], 0.5),
        "paper_bound_exceeded": _mean((change > paper + rounding)[moved]),
    }


def _flatness(rows: ModelRecords, candidates: np.ndarray, evaluated: np.ndarray) -> dict[str, Any]:
    """Flatness where each sample's loss is largest, over clean-correct samples that are misclassified there."""
    row = _highest(rows, candidates)
    at, wrong = rows.position[row], rows.wrong[row]
    confident = np.zeros(rows.label.size, bool)
    confident[at] = wrong & (rows.confidence[row] >= CONFIDENT)
    adversarial = rows.adversarial[row]
    at, row = at[adversarial], row[adversarial]
    before, after, w = rows.clean_log_kappa[at], rows.log_kappa[row], rows.weight[at]

    def median(values: np.ndarray) -> float:
        return weighted.exp_quantile(values, 0.5, w)

    return {
        "n_adversarial": int(at.size),
        "kappa_clean": median(before),
        "kappa_adv": median(after),
        "flatness_ratio": median(reduce.difference(after, before)),
        "flat_fraction": reduce.flatter_share(after, before, w),
        **_theory(rows, at, row, w),
        "confidently_wrong_fraction": weighted.weighted_share(confident, evaluated, rows.weight),
    }


def _theory(rows: ModelRecords, at: np.ndarray, row: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Medians of the factors of κ = ‖W‖² ‖φ‖² G and of the bounds, over the points where flatness is measured."""

    def median(values: np.ndarray) -> float:
        return weighted.weighted_quantile(values, 0.5, weight)

    return {
        "weight_norm": rows.weight_norm,
        "feature_norm_clean": median(rows.feature_norm[at]),
        "feature_norm_adv": median(rows.feature_norm_adv[row]),
        "gini_impurity_clean": median(rows.clean_impurity[at]),
        "gini_impurity_adv": median(rows.impurity[row]),
        "feature_grad_norm_clean": median(rows.feature_grad_norm[at]),
        "feature_shift": median(rows.shift[row]),
    }


def _highest(rows: ModelRecords, candidates: np.ndarray) -> np.ndarray:
    """The row with the largest loss change of each sample, sorted by sample; the last one in a tie."""
    at, change = rows.position[candidates], rows.change[candidates]
    largest = np.full(rows.label.size, -np.inf)
    np.maximum.at(largest, at, change)
    top = candidates[change == largest[at]]
    highest = np.full(rows.label.size, -1)
    highest[rows.position[top]] = top
    return highest[highest >= 0]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
