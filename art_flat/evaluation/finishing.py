"""Computation of a unit and writing of its rows and points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from .._utils.freed_memory import return_freed_memory
from ..records.points import Saved
from .grid import AnyUnit, CleanUnit
from .worker import Worker

LARGE_BYTES = 2**25
"""Size of inputs from which memory is returned to the system after every unit."""


class UnitStore(Protocol):
    """Destination of finished units: a results folder, or memory."""

    def write_unit(self, table: str, key: str, frame: pd.DataFrame, /) -> None:
        """Write the rows of one unit."""

    def read_unit(self, table: str, key: str, /) -> pd.DataFrame:
        """The rows of one unit."""

    def write_points(self, name: str, points: Saved, /) -> None:
        """Write the points of a unit."""


def finish(worker: Worker, unit: AnyUnit, store: UnitStore) -> bool:
    """Compute a unit and write its result.

    Args:
        worker: The worker.
        unit: The unit.
        store: Destination of rows and points.

    Returns:
        Whether the unit failed.

    Raises:
        StoreError: If the result cannot be written.
    """
    failed = _compute_and_write(worker, unit, store)
    if worker.data.x.nbytes > LARGE_BYTES:
        return_freed_memory()
    return failed


def _compute_and_write(worker: Worker, unit: AnyUnit, store: UnitStore) -> bool:
    earlier = () if isinstance(unit, CleanUnit) else unit.depends_on
    computed = worker.compute(unit, [store.read_unit("adversarial", u.key) for u in earlier])
    if worker.context.settings.save_adversarial and computed.points is not None:
        samples = computed.frames["adversarial"]["sample"].unique() if len(computed.points) else []
        store.write_points(unit.key, (computed.points, np.asarray(samples, dtype=np.int64)))
    for table, frame in computed.frames.items():
        store.write_unit(table, unit.key, frame)
    return has_failed(computed.frames)


def has_failed(frames: Mapping[str, pd.DataFrame]) -> bool:
    """Whether an attack has no point for some sample, so that its unit is computed again."""
    if "adversarial" not in frames:
        return False
    rows = frames["adversarial"]
    return bool(((rows["status"] == "failed") & rows["linf"].isna()).any())
