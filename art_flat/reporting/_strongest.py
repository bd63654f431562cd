"""The strongest attack of each model, norm and radius, by criterion: accuracy, loss and distance may disagree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from .._utils.formatting import norm_sign, percent, percent_of, radius_text
from ..records import ALL_ATTACKS
from .attack_runs import attack_runs
from .text import origin

KEYS = ["model", "attack", "source_model", "norm", "delta"]
CRITERIA = {
    "robust_accuracy": ("accuracy", "{} left"),
    "loss_optimality": ("loss", "{} of the largest rises found"),
    "distance_optimality": ("distance", "{} of the nearest points found"),
}
"""Column → name of the criterion and how its value reads; the first is best where small, the others where large."""
_TIE = 1e-9
_NAMED = 2


def with_optimality(summary: pd.DataFrame, optimality: pd.DataFrame) -> pd.DataFrame:
    """A summary with the scores of `Results.optimality` beside it; NaN in the rows over all attacks."""
    if summary.empty:
        return summary.assign(loss_optimality=[], distance_optimality=[])
    return summary.merge(optimality.drop(columns="n_evaluated"), on=KEYS, how="left", validate="one_to_one")


def strongest(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """The strongest attacks and sequences by each criterion.

    Args:
        scores: From `with_optimality`.

    Returns:
        Per model, norm and δ: `model, norm, delta`, and for each criterion its text, "–" where nothing decides.
    """
    if scores.empty:
        return []
    single = pd.concat(run.rows for run in attack_runs(scores[scores["attack"] != ALL_ATTACKS]))
    return [
        {
            "model": str(model),
            "norm": norm_sign(str(norm)),
            "delta": radius_text(delta),
            **dict(_criteria(part)),
        }
        for (model, norm, delta), part in single.groupby(["model", "norm", "delta"], sort=False)
    ]


def _criteria(part: pd.DataFrame) -> Iterator[tuple[str, str]]:
    for column, (criterion, reading) in CRITERIA.items():
        values = part[column].dropna()
        if values.empty:
            yield criterion, "–"
            continue
        best = values.min() if column == "robust_accuracy" else values.max()
        rows = part.loc[values.index[(values - best).abs() <= _TIE]].to_dict("records")
        value = percent_of(best, rows[0]["n_evaluated"]) if column == "robust_accuracy" else percent(best)
        yield criterion, f"{_listed([origin(row) for row in rows])} ({reading.format(value)})"


def _listed(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return " and ".join(names) if rest <= 0 else f"{', '.join(names[:_NAMED])} and {rest} more"
