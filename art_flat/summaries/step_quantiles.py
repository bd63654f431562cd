"""Quantiles over samples, step by step along trajectories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def step_quantiles(
    steps: pd.DataFrame,
    samples: pd.DataFrame,
    quantity: str,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    *,
    from_flip: bool = False,
) -> pd.DataFrame:
    """Quantiles of a column of `Trajectories.frame` at each step, over the clean-correct samples.

    Trajectories have different lengths; a step counts while at least half of the samples have one.

    Args:
        steps: One row per sample and step.
        samples: One row per sample, with `right_clean` and `flip_step`.
        quantity: Name of the column.
        quantiles: Quantiles in [0, 1].
        from_flip: Count steps from the flip of each sample (0), and leave out samples without one.

    Returns:
        Columns `step, n` and one per quantile, `q10`, `q50`, …; empty if no sample counts.
    """
    chosen = samples[samples["right_clean"].astype(bool)]
    if from_flip:
        chosen = chosen[chosen["flip_step"].notna()]
    rows = steps[steps["sample"].isin(chosen["sample"])]
    step = rows["step"]
    if from_flip:
        flip = chosen.set_index("sample")["flip_step"].astype(float)
        step = step - rows["sample"].map(flip)
    groups = rows.groupby(step.astype(int))[quantity]
    count = groups.size()
    quantile_columns = {f"q{100 * q:g}": groups.quantile(q) for q in quantiles}
    table = pd.DataFrame({"n": count, **quantile_columns}).rename_axis("step").reset_index()
    return table[table["n"] >= max(1, int(np.ceil(len(chosen) / 2)))].reset_index(drop=True)
