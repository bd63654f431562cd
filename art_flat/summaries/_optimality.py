"""Optimality scores from records: how close each attack is to the best of all attacks; no model is run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..records import ALL_ATTACKS, ModelRecords, Records
from ..scores import weighted
from ..typing import Norm
from .cells import by_radius


def optimality(records: Records) -> pd.DataFrame:
    """How close each attack is to the best of all attacks, in distance and in loss.

    Args:
        records: The records of a run.

    Returns:
        One row per model, attack, source model, norm and δ; both scores are in [0, 1], see `Results.optimality`.

    >>> from art_flat.testing import example_results
    >>> float(optimality(example_results())["loss_optimality"].round(2).max())
    1.0
    """
    attacks = [a["name"] for a in records.facts["attacks"]]
    rows: list[dict[str, Any]] = []
    for model in records.model_names:
        points = records.of_model(model)
        for norm, radii in records.facts["deltas"].items():
            grid = np.array(sorted(radii))
            best = _attack_scores(points, np.arange(points.attack.size), norm, grid)
            for chosen, keys in points.groups(norm, attacks):
                if keys["attack"] != ALL_ATTACKS:
                    earlier = points.earlier_stages(**keys)
                    own = _attack_scores(points, np.union1d(chosen, earlier), norm, grid)
                    rows += [
                        {
                            "model": model,
                            **keys,
                            "norm": norm,
                            "delta": delta,
                            **_compare(points, own, best, j),
                        }
                        for j, delta in enumerate(grid)
                        if own.evaluated[j].any()
                    ]
    columns = ["model", "attack", "source_model", "norm", "delta", "n_evaluated"]
    return pd.DataFrame(rows, columns=[*columns, "distance_optimality", "loss_optimality"])


class _AttackScores(NamedTuple):
    """Results of a set of attacks at r radii; each array has shape (r, n)."""

    evaluated: np.ndarray
    """Whether all runs up to this radius have a result."""
    gain: np.ndarray
    """Length of the part of [0, δ] on which the sample is broken."""
    rise: np.ndarray
    """Largest loss change within δ, at least 0, nats."""


def _attack_scores(points: ModelRecords, rows: np.ndarray, norm: Norm, grid: np.ndarray) -> _AttackScores:
    n = points.label.size
    ran, broken = np.zeros((grid.size, n), bool), np.zeros((grid.size, n), bool)
    rise = np.zeros((grid.size, n))
    for j, (own, new) in enumerate(by_radius(points, rows, norm, grid)):
        ran[j, points.position[own[~np.isnan(points.change[own])]]] = True
        broken[j, points.position[new[points.wrong[new]]]] = True
        np.maximum.at(rise[j], points.position[new], points.change[new])
    broken, rise = np.logical_or.accumulate(broken), np.maximum.accumulate(rise)
    steps = np.diff(grid, prepend=0.0)[:, None]
    return _AttackScores(np.logical_and.accumulate(ran), np.cumsum(broken * steps, axis=0), rise)


def _compare(points: ModelRecords, own: _AttackScores, best: _AttackScores, j: int) -> dict[str, Any]:
    """The scores at the j-th radius."""
    weight = np.where(own.evaluated[j], points.weight, 0.0)
    return {
        "n_evaluated": int(own.evaluated[j].sum()),
        "distance_optimality": weighted.area_ratio(
            own.gain[j], best.gain[j], np.where(points.right, weight, 0.0)
        ),
        "loss_optimality": weighted.mean_ratio(own.rise[j], best.rise[j], weight),
    }
