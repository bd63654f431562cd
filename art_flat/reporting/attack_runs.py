"""Attacks of a summary with the steps of a sequence put together: one row for all of them, and the steps in order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from .._utils.sequence_names import split_position

STEP = "↳ after "
"""Start of the name of a step below its sequence: the scores are those after it."""


class AttackRun(NamedTuple):
    """An attack or a sequence on one model and in one norm, with points from one model."""

    rows: pd.DataFrame
    """One row per radius. A sequence has its name in the column `attack` and the scores of all samples after its last
    step; seconds and failed points are those of all steps, and passes per sample are NaN."""
    steps: tuple[pd.DataFrame, ...]
    """The rows of each step of a sequence, in order, named as below it; empty for another attack."""


def attack_runs(summary: pd.DataFrame) -> Iterator[AttackRun]:
    """The attacks and sequences of a summary, in its order.

    Args:
        summary: From `Results.summary`, with full or short names of attacks.

    Yields:
        Each attack and sequence, per model, norm and source model.

    >>> from art_flat.testing import example_results
    >>> [len(run.rows) for run in attack_runs(example_results().summary())]  # two attacks and the worst of both
    [2, 2, 2]
    """
    if summary.empty:
        return
    places = [split_position(str(name)) or (str(name), "", 0) for name in summary["attack"]]
    single, sequence, position = zip(*places, strict=True)
    rows = summary.assign(attack=single, _sequence=sequence, _position=position)
    name = rows["_sequence"].where(rows["_sequence"] != "", rows["attack"])
    groups = rows.assign(_name=name).groupby(
        ["model", "norm", "_name", "_sequence", "source_model"], sort=False
    )
    for (*_, sequence, _), run in groups:
        if sequence:
            steps = [step[summary.columns] for _, step in run.groupby("_position")]
            named = tuple(step.assign(attack=STEP + step["attack"]) for step in steps)
            yield AttackRun(_whole(pd.concat(steps), str(sequence)), named)
        else:
            yield AttackRun(run[summary.columns], ())


def _whole(steps: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a sequence from those of its steps, in order; a failed last step leaves the scores before it."""
    known_last = np.argsort(steps["robust_accuracy"].notna().to_numpy(), kind="stable")
    last = steps.iloc[known_last].drop_duplicates("delta", keep="last").sort_values("delta")
    by_radius = steps.groupby("delta")
    sums = {c: by_radius[c].sum().to_numpy() for c in ("seconds", "n_failed")}
    loss = by_radius["maximises_loss"].any().to_numpy()
    return last.assign(attack=name, maximises_loss=loss, forwards=math.nan, backwards=math.nan, **sums)
