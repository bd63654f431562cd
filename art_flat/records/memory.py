"""An in-memory `Store` for runs without a results folder."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .._utils.streaming import InputRows
from .points import Points, Saved
from .store import concat


class MemoryStore:
    """A store in memory with the methods of `Store` that a run needs."""

    def __init__(self) -> None:
        self._frames: dict[str, dict[str, pd.DataFrame]] = {}
        self._saved: dict[str, Saved] = {}

    def write_unit(self, table: str, key: str, frame: pd.DataFrame) -> None:
        """Store the rows of one unit."""
        self._frames.setdefault(table, {})[key] = frame

    def read_unit(self, table: str, key: str) -> pd.DataFrame:
        """The rows of one unit."""
        return self._frames[table][key]

    def finished(self, table: str, key: str) -> pd.DataFrame | None:
        """The rows of a unit, or None if it was not written."""
        return self._frames.get(table, {}).get(key)

    def write_points(self, name: str, points: tuple[np.ndarray | InputRows, np.ndarray]) -> None:
        """Store the points of a unit, or the clean points."""
        self._saved[name] = (np.asarray(points[0]), points[1])

    def finished_points(self, name: str) -> bool:
        """Whether the points of a unit were written."""
        return name in self._saved

    def read_table(self, table: str, order: list[str]) -> pd.DataFrame:
        """The rows of the given units, in their order."""
        frames = self._frames.get(table, {})
        return concat(table, [frames[key] for key in order if key in frames])

    def points(self) -> Points:
        """All points."""
        return Points.in_memory(self._saved)
