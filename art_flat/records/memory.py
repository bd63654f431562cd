"""An in-memory `Store` for runs without a results folder."""

from __future__ import annotations

import pandas as pd

from .points import Points, Saved
from .store import concat


class MemoryStore:
    """Holds what is written to it."""

    def __init__(self) -> None:
        self._frames: dict[str, dict[str, pd.DataFrame]] = {}
        self._saved: dict[str, Saved] = {}

    def write_unit(self, table: str, key: str, frame: pd.DataFrame) -> None:
        """The rows that one unit adds to a table."""
        self._frames.setdefault(table, {})[key] = frame

    def read_unit(self, table: str, key: str) -> pd.DataFrame:
        """What `write_unit` wrote."""
        return self._frames[table][key]

    def finished(self, table: str, key: str) -> pd.DataFrame | None:
        """The rows of a unit if they are there."""
        return self._frames.get(table, {}).get(key)

    def write_points(self, name: str, points: Saved) -> None:
        """The points of a unit, or the clean ones."""
        self._saved[name] = points

    def finished_points(self, name: str) -> bool:
        """Whether the points of a unit are there."""
        return name in self._saved

    def read_table(self, table: str, order: list[str]) -> pd.DataFrame:
        """The rows of the units named, in that order."""
        found = self._frames.get(table, {})
        return concat(table, [found[key] for key in order if key in found])

    def points(self) -> Points:
        """All points."""
        return Points.in_memory(self._saved)
