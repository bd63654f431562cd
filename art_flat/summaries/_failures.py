"""Failed and skipped units with their reasons."""

from __future__ import annotations

import pandas as pd

from ..records import Records


def failures(records: Records) -> pd.DataFrame:
    """One row per reason why samples failed or were skipped.

    Args:
        records: The records of a run.

    Returns:
        Columns `model, attack, norm`, `delta` (clip units), `status, error` and `n` (number of samples).

    >>> from art_flat.testing import example_results
    >>> len(failures(example_results()))
    0
    """
    bad = records.adversarial[records.adversarial["status"].isin(["failed", "skipped"])]
    keys = ["model", "attack", "norm", "delta", "status", "error"]
    return bad.groupby(keys, dropna=False, sort=False).size().rename("n").reset_index()
