"""Optional storage of points: the clean points once, the adversarial points per unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import StoreError

CLEAN_POINTS = "clean"
"""Name of the clean points; adversarial points are stored under their unit's key."""

RERUN_HINT = "run again with save_adversarial=True; units whose points are missing are computed again"

Saved = tuple[np.ndarray, np.ndarray]
"""Points (n, ...) and their sample ids (n,)."""


class Points:
    """Saved points, indexed by unit and sample id.

    Args:
        read: Called with `"clean"` or a unit's key; raises `StoreError` where there are none.
    """

    def __init__(self, read: Callable[[str], Saved]) -> None:
        self._read = read

    @classmethod
    def in_memory(cls, saved: Mapping[str, Saved]) -> Points:
        """Points stored in a mapping."""

        def read(name: str) -> Saved:
            if name not in saved:
                raise StoreError(f"no points were saved for {_named(name)}; {RERUN_HINT}")
            return saved[name]

        return cls(read)

    def clean(self, samples: Any) -> np.ndarray:
        """Clean points of some samples.

        Args:
            samples: Sample ids, shape (m,).

        Returns:
            Shape (m, ...), in the order of `samples`.

        Raises:
            StoreError: If a sample has none.
        """
        return self._pick(CLEAN_POINTS, np.asarray(samples, dtype=np.int64))

    def adversarial(self, rows: pd.DataFrame) -> np.ndarray:
        """Adversarial points of some rows.

        Args:
            rows: m rows with columns `unit` and `sample`.

        Returns:
            Shape (m, ...), in the order of the rows.

        Raises:
            StoreError: If there are no rows, or one of them has no point.
        """
        if not len(rows):
            raise StoreError("no rows were given, so the shape of their points is not known")
        samples = rows["sample"].to_numpy(dtype=np.int64)
        places = pd.Series(range(len(rows))).groupby(rows["unit"].to_numpy(dtype=object)).indices
        parts = {unit: self._pick(str(unit), samples[where]) for unit, where in places.items()}
        first = next(iter(parts.values()))
        points = np.empty((len(rows), *first.shape[1:]), first.dtype)
        for unit, where in places.items():
            points[where] = parts[unit]
        return points

    def copy(self, units: Iterable[str], write: Callable[[str, Saved], None]) -> None:
        """Pass the clean points and those of every unit that has points to `write`."""
        for name in (CLEAN_POINTS, *units):
            try:
                saved = self._read(name)
            except StoreError:  # units that failed have none
                continue
            write(name, saved)

    def _pick(self, name: str, wanted: np.ndarray) -> np.ndarray:
        x, samples = self._read(name)
        order = np.argsort(samples)
        at = order[np.minimum(np.searchsorted(samples, wanted, sorter=order), len(samples) - 1)]
        absent = wanted[samples[at] != wanted]
        if len(absent):
            raise StoreError(f"no points were saved for {_named(name)} for sample {absent[0]}; {RERUN_HINT}")
        picked: np.ndarray = x[at]
        return picked


def _named(name: str) -> str:
    return "the clean samples" if name == CLEAN_POINTS else f"unit {name!r} (it may have failed)"
