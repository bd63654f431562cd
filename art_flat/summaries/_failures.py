"""Units that failed or were skipped, and why."""

from __future__ import annotations

import pandas as pd

from ..records import Records


def failures(records: Records) -> pd.DataFrame:
    """One row per reason for which samples failed or were skipped; see `Results.failures`."""
    bad = records.adversarial[records.adversarial["status"].isin(["failed", "skipped"])]
    keys = ["model", "attack", "norm", "delta", "status", "error"]
    return bad.groupby(keys, dropna=False, sort=False).size().rename("n").reset_index()
