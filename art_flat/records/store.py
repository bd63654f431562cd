"""A results folder: tables in Parquet, the configuration in TOML, the manifest in JSON.

```
manifest.json                                         schema, environment, seeds, attacks, what is complete
config.toml                                           everything that determines the records
models.parquet                                        one row per model
fingerprints.safetensors                              outputs of the models on fixed inputs
clean/<unit>.parquet                                  one file per model and shard
certified/<unit>.parquet                              the same, and one per model, shard and ball
adversarial/<unit>.parquet                            one file per unit, written when the unit is done
points/clean.safetensors  points/<unit>.safetensors   on request
summary.csv                                           once every unit is complete
checksums/                                            one empty file per file, named by its SHA-256
damaged/                                              files that could not be used
```
Each file is written atomically; those in Parquet and safetensors state their schema, table, unit and run.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from .._utils.streaming import InputRows
from ..errors import StoreError
from .files import TensorPieces, parquet, parse_tensors
from .fingerprint import Fingerprint, different_functions
from .manifest import KEY
from .points import CLEAN_POINTS, RERUN_HINT, Saved
from .run_folder import IN_UNITS, RunFolder
from .schema import make_frame, to_arrow


class DamagedFileWarning(UserWarning):
    """A file of a results folder could not be used and was quarantined."""


class Store(RunFolder):
    """Reads and writes a results folder.

    Args:
        folder: The folder; created at the first write.
        run: Hash of all that determines the records; stated and checked in every file. None to read the folder
            that is there.
    """

    def quarantine_unknown_units(self, table: str, keys: Container[str]) -> None:
        """Quarantine every unit of a table that does not belong to this run, with a warning."""
        for key in self.units(table):
            if key not in keys:
                self._quarantine(self._unit(table, key), f"{table}/{key}.parquet is not a unit of this run")

    def require_same_functions(self, now: Mapping[str, Fingerprint]) -> None:
        """Require that the models are those of the folder's units, and store their outputs for the next run.

        Args:
            now: Model name → its outputs on the probe inputs.

        Raises:
            StoreError: If a model is random or a different function, or there are units and the outputs of their
                models are unknown.
        """
        try:
            before = self.read_fingerprints()
        except StoreError:
            if any(True for table in IN_UNITS for _ in self.units(table)):
                raise
            self.write_fingerprints(now)
            return
        conflicts = different_functions(before, now, ("there", "now"))
        if conflicts:
            raise StoreError(
                f"{self.folder} cannot be continued:\n  " + "\n  ".join(conflicts) + "\n"
                "use another folder, or delete this one"
            )

    def remove_units(self, table: str, keys: Iterable[str]) -> None:
        """Remove units of a table that are not needed any more."""
        for key in keys:
            self._unit(table, key).unlink(missing_ok=True)

    def write_unit(self, table: str, key: str, frame: pd.DataFrame) -> None:
        """Write the rows of one unit."""
        self._files.write(self._unit(table, key), parquet(to_arrow(table, frame), self._facts(table, key)))

    def read_unit(self, table: str, key: str) -> pd.DataFrame:
        """The rows of one unit.

        Returns:
            The rows.

        Raises:
            StoreError: If the file is missing, damaged, or of a different unit, run or schema.
        """
        return self._read(self._unit(table, key), table, key)

    def finished(self, table: str, key: str) -> pd.DataFrame | None:
        """The rows of a unit, or None; an unusable file is quarantined with a warning."""
        path = self._unit(table, key)
        if not path.exists():
            return None
        try:
            return self.read_unit(table, key)
        except StoreError as error:
            self._quarantine(path, str(error))
            return None

    def units(self, table: str) -> Iterator[str]:
        """Keys of the units in a table, sorted; files with other names are ignored."""
        folder = self._files.inside(table)
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            if re.fullmatch(rf"{KEY}\.parquet", name):
                yield name.removesuffix(".parquet")

    def read_table(self, table: str, order: list[str] | None = None) -> pd.DataFrame:
        """One of the tables that are stored in units.

        Args:
            table: Its name.
            order: Keys of the first units, in order; missing units are ignored.

        Returns:
            The table, with every column.

        Raises:
            StoreError: If a file is damaged.
        """
        keys = list(self.units(table))
        position = {key: i for i, key in enumerate(order or [])}
        keys.sort(key=lambda key: position.get(key, len(position)))
        return concat(table, [self.read_unit(table, key) for key in keys])

    # Points

    def write_points(self, name: str, points: tuple[np.ndarray | InputRows, np.ndarray]) -> None:
        """Write the points of a unit, or the clean points, with their sample ids; lazy rows piece by piece."""
        x, samples = points
        self._files.write(
            self._points(name), TensorPieces(InputRows(x), samples, self._facts("points", name))
        )

    def has_points(self, name: str = CLEAN_POINTS) -> bool:
        """Whether the points of a unit, or the clean points, were saved."""
        return self._points(name).is_file()

    def read_points(self, name: str) -> Saved:
        """The points of a unit, or the clean points.

        Returns:
            Points and sample ids.

        Raises:
            StoreError: If the file is missing or damaged.
        """
        path = self._points(name)
        if not path.is_file():
            raise StoreError(f"{path} is missing: these points were not saved; {RERUN_HINT}")
        found = parse_tensors(self._files.read(path), path, self._facts("points", name))
        x, samples = found.get("x"), found.get("sample")
        if x is None or samples is None or samples.dtype != np.int64 or x.shape[:1] != samples.shape:
            raise StoreError(f"{path} does not hold points `x` (n, ...) with ids `sample` (n,)")
        return x, samples

    def finished_points(self, name: str) -> bool:
        """Whether the points of a unit were written; an unusable file is quarantined with a warning."""
        if not self.has_points(name):
            return False
        try:
            self.read_points(name)
        except StoreError as error:
            self._quarantine(self._points(name), str(error))
            return False
        return True

    # Internals

    def _unit(self, table: str, key: str) -> Path:
        return self._files.inside(table, f"{_checked(key)}.parquet")

    def _points(self, name: str) -> Path:
        return self._files.inside("points", f"{_checked(name)}.safetensors")

    def _quarantine(self, path: Path, why: str) -> None:
        new_path = self._files.quarantine(path)
        if new_path is not None:
            warnings.warn(f"{why}; quarantined as {new_path}", DamagedFileWarning, stacklevel=3)


def concat(table: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of several frames of a table, in order; an empty table if there are none."""
    frames = [f for f in frames if len(f)]
    return pd.concat(frames, ignore_index=True) if frames else make_frame(table, {}, 0)


def _checked(key: str) -> str:
    """A unit's key, which may come from a file, validated: it cannot name a path outside the folder."""
    if not re.fullmatch(KEY, key):
        raise StoreError(f"{key!r} is not a unit key")
    return key
