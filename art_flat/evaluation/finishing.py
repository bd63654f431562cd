"""The last steps of a unit: its rows and points are computed and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from ..records.points import Saved
from .grid import AnyUnit, CleanUnit
from .worker import Worker


class UnitStore(Protocol):
    """Where finished units go: a results folder, or memory."""

    def write_unit(self, table: str, key: str, frame: pd.DataFrame, /) -> None:
        """The rows that one unit adds to a table."""

    def read_unit(self, table: str, key: str, /) -> pd.DataFrame:
        """What `write_unit` wrote."""

    def write_points(self, name: str, points: Saved, /) -> None:
        """The points of a unit."""


def finish(worker: Worker, unit: AnyUnit, store: UnitStore) -> bool:
    """Compute a unit and write it to where its run's units go.

    Args:
        worker: What computes.
        unit: The unit.
        store: Where rows and points go.

    Returns:
        Whether the unit failed.

    Raises:
        StoreError: If something cannot be written.
    """
    earlier = () if isinstance(unit, CleanUnit) else unit.depends_on
    computed = worker.compute(unit, [store.read_unit("adversarial", u.key) for u in earlier])
    if worker.context.settings.save_adversarial and computed.points is not None:
        samples = computed.frames["adversarial"]["sample"].unique() if len(computed.points) else []
        store.write_points(unit.key, (computed.points, np.asarray(samples, dtype=np.int64)))
    for table, frame in computed.frames.items():
        store.write_unit(table, unit.key, frame)
    return has_failed(computed.frames)


def has_failed(frames: Mapping[str, pd.DataFrame]) -> bool:
    """Whether an attack gave no point for some sample, so that its unit is tried again."""
    if "adversarial" not in frames:
        return False
    rows = frames["adversarial"]
    return bool(((rows["status"] == "failed") & rows["linf"].isna()).any())
