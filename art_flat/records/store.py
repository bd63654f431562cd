"""A results folder: tables in Parquet, the configuration in TOML, the manifest in JSON.

```
manifest.json                                         schema, environment, seeds, attacks, what is complete
config.toml                                           everything that determines the records
models.parquet                                        one row per model
fingerprints.safetensors                              outputs of the models on fixed inputs
clean/<unit>.parquet  certified/<unit>.parquet        one file per model and shard
adversarial/<unit>.parquet                            one file per unit, written when the unit is done
points/clean.safetensors  points/<unit>.safetensors   on request
summary.csv                                           once every unit is there
damaged/                                              files that could not be used
```
Each file appears whole or not at all, and states its checksum, schema, table, unit and run.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
import warnings
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import tomli_w

from .._utils.files import write_atomically
from ..errors import StoreError
from .files import inside, parquet, quarantine, read_parquet, read_tensors, tensors
from .fingerprint import Fingerprint, different_functions, from_arrays, to_arrays
from .manifest import KEY, manifest_text, read_manifest
from .points import CLEAN_POINTS, RERUN_HINT, Saved
from .schema import SCHEMA_VERSION, TABLES, make_frame, to_arrow

IN_UNITS = ("clean", "certified", "adversarial")
"""Tables with a file per unit."""

FREE_OPTIONS = ("epsilons", "save_adversarial", "time_limit", "n_jobs", "part")
"""What may change between two runs in one folder, since it decides no record."""


_LONGEST_VALUE = 300
"""Characters of a value in a message on what differs."""

_FINGERPRINTS = "fingerprints.safetensors"


class DamagedFileWarning(UserWarning):
    """A file of a results folder could not be used and was set aside."""


class Store:
    """Reads and writes a results folder.

    Args:
        folder: The folder; made when something is written.
        run: Hash of all that determines the records; stated and checked in every file. None to read the folder
            that is there.
    """

    def __init__(self, folder: str | os.PathLike[str], run: str | None = None) -> None:
        self.folder = Path(folder)
        self.run = run

    # The run as a whole

    def begin(self, config: Mapping[str, Any]) -> None:
        """Make the folder ready for a run with this configuration.

        Raises:
            StoreError: If the folder holds another run, or something else.
        """
        known = self.folder / "config.toml"
        foreign = self.folder.exists() and (
            not self.folder.is_dir() or any(map(_is_foreign, self.folder.iterdir()))
        )
        if known.exists():  # looked up after the rest, which another process writes after it
            before, now = (
                {k: v for k, v in c.items() if k not in FREE_OPTIONS}
                for c in (self.read_config(), json.loads(json.dumps(config)))
            )
            changed = differences(before, now)
            if changed:
                raise StoreError(
                    f"{self.folder} holds a run with another configuration:\n  " + "\n  ".join(changed) + "\n"
                    "use another folder, or delete this one"
                )
        elif foreign:
            raise StoreError(f"{self.folder} is not empty and holds no art_flat results; use another folder")
        self._write("config.toml", tomli_w.dumps(dict(config)).encode())
        for table in IN_UNITS:
            inside(self.folder, table).mkdir(exist_ok=True)

    def read_config(self) -> dict[str, Any]:
        """The configuration of the run in this folder."""
        try:
            return tomllib.loads((self.folder / "config.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"cannot read {self.folder / 'config.toml'}: {error}") from None

    def write_manifest(self, facts: Mapping[str, Any]) -> None:
        """Versions, seeds and facts about the run."""
        self._write("manifest.json", manifest_text(facts).encode())

    def read_manifest(self) -> dict[str, Any]:
        """What `write_manifest` wrote, checked; from now on every file is checked to be of the same run."""
        facts = read_manifest(self.folder / "manifest.json")
        self.run = facts["run"]
        return facts

    def manifest_if_any(self) -> dict[str, Any]:
        """Contents of the manifest, if there is a readable one."""
        try:
            return read_manifest(self.folder / "manifest.json")
        except StoreError:
            return {}

    def quarantine_unknown_units(self, table: str, keys: Container[str]) -> None:
        """Set aside every unit of a table that is not of this run, with a warning."""
        for key in self.units(table):
            if key not in keys:
                self._quarantine(self._unit(table, key), f"{table}/{key}.parquet is not a unit of this run")

    def write_summary(self, frame: pd.DataFrame) -> None:
        """The summary, as CSV."""
        self._write("summary.csv", frame.to_csv(index=False).encode())

    # Tables

    def write_models(self, frame: pd.DataFrame) -> None:
        """The `models` table."""
        self._write("models.parquet", parquet(to_arrow("models", frame), self._facts("models", "")))

    def read_models(self) -> pd.DataFrame:
        """The `models` table.

        Returns:
            One row per model.

        Raises:
            StoreError: If it is missing or damaged.
        """
        return self._read(self.folder / "models.parquet", "models", "")

    def require_same_functions(self, now: Mapping[str, Fingerprint]) -> None:
        """Refuse to go on with other models than the folder's units were made with; noted for the next run.

        Args:
            now: Model name → its outputs on the probe inputs.

        Raises:
            StoreError: If a model is random or another function, or there are units and it is not known what the
                models computed.
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

    def write_fingerprints(self, fingerprints: Mapping[str, Fingerprint]) -> None:
        """What the models compute on the probe inputs."""
        self._write(_FINGERPRINTS, tensors(to_arrays(fingerprints), self._facts("fingerprints", "")))

    def read_fingerprints(self) -> dict[str, Fingerprint]:
        """What `write_fingerprints` wrote.

        Returns:
            Model name → outputs.

        Raises:
            StoreError: If the file is missing or damaged.
        """
        path = self.folder / _FINGERPRINTS
        try:
            return from_arrays(read_tensors(path, self._facts("fingerprints", "")))
        except (StoreError, KeyError, ValueError) as error:
            raise StoreError(
                f"{error}; without it, the units of {self.folder} cannot be attributed to these models, so they can be "
                "read but neither continued nor merged"
            ) from None

    def write_unit(self, table: str, key: str, frame: pd.DataFrame) -> None:
        """The rows that one unit adds to a table."""
        self._write_path(self._unit(table, key), parquet(to_arrow(table, frame), self._facts(table, key)))

    def read_unit(self, table: str, key: str) -> pd.DataFrame:
        """What `write_unit` wrote.

        Returns:
            The rows.

        Raises:
            StoreError: If there are none, or they are damaged, or of another unit, run or schema.
        """
        return self._read(self._unit(table, key), table, key)

    def finished(self, table: str, key: str) -> pd.DataFrame | None:
        """The rows of a unit if they are there; a file that cannot be used is set aside, with a warning."""
        path = self._unit(table, key)
        if not path.exists():
            return None
        try:
            return self.read_unit(table, key)
        except StoreError as error:
            self._quarantine(path, str(error))
            return None

    def stamp(self, table: str, key: str) -> tuple[int, int] | None:
        """What changes when a unit is written again; None where there is no such file."""
        try:
            found = self._unit(table, key).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def units(self, table: str) -> Iterator[str]:
        """Keys of the units in a table, sorted; files with other names are passed over."""
        folder = inside(self.folder, table)
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            if re.fullmatch(rf"{KEY}\.parquet", name):
                yield name.removesuffix(".parquet")

    def read_table(self, table: str, order: list[str] | None = None) -> pd.DataFrame:
        """One of the tables that are made of units.

        Args:
            table: Its name.
            order: Keys of the units that come first; those that are missing are passed over.

        Returns:
            The table, with every column.

        Raises:
            StoreError: If a file is damaged.
        """
        keys = list(self.units(table))
        place = {key: i for i, key in enumerate(order or [])}
        keys.sort(key=lambda key: place.get(key, len(place)))
        return concat(table, [self.read_unit(table, key) for key in keys])

    # Points

    def write_points(self, name: str, points: Saved) -> None:
        """The points of a unit, or the clean ones, with their sample ids."""
        x, samples = points
        self._write_path(
            self._points(name), tensors({"x": x, "sample": samples}, self._facts("points", name))
        )

    def has_points(self, name: str = CLEAN_POINTS) -> bool:
        """Whether the points of a unit, or the clean ones, were kept."""
        return self._points(name).is_file()

    def read_points(self, name: str) -> Saved:
        """What `write_points` wrote.

        Returns:
            Points and sample ids.

        Raises:
            StoreError: If there is no such file, or it is damaged.
        """
        path = self._points(name)
        if not path.is_file():
            raise StoreError(f"{path} is missing: no such points were kept; {RERUN_HINT}")
        found = read_tensors(path, self._facts("points", name))
        x, samples = found.get("x"), found.get("sample")
        if x is None or samples is None or samples.dtype != np.int64 or x.shape[:1] != samples.shape:
            raise StoreError(f"{path} does not hold points `x` (n, ...) with ids `sample` (n,)")
        return x, samples

    def finished_points(self, name: str) -> bool:
        """Whether the points of a unit are there; a file that cannot be used is set aside, with a warning."""
        if not self.has_points(name):
            return False
        try:
            self.read_points(name)
        except StoreError as error:
            self._quarantine(self._points(name), str(error))
            return False
        return True

    # How that is done

    def _facts(self, table: str, unit: str) -> dict[str, Any]:
        return {"schema": SCHEMA_VERSION, "table": table, "unit": unit, "run": self.run}

    def _unit(self, table: str, key: str) -> Path:
        return inside(self.folder, table, f"{_checked(key)}.parquet")

    def _points(self, name: str) -> Path:
        return inside(self.folder, "points", f"{_checked(name)}.safetensors")

    def _write(self, name: str, content: bytes) -> None:
        self._write_path(inside(self.folder, name), content)

    def _write_path(self, path: Path, content: bytes) -> None:
        write_atomically(path, content)

    def _read(self, path: Path, table: str, unit: str) -> pd.DataFrame:
        found = read_parquet(path, self._facts(table, unit))
        expected = pa.schema(list(TABLES[table].items()))
        if found.schema.names != expected.names:
            raise StoreError(f"{path} has other columns than {table}: {', '.join(found.schema.names)}")
        try:
            return found.cast(expected).to_pandas(types_mapper=_PANDAS.get)
        except pa.ArrowException as error:
            raise StoreError(f"{path} has other types of columns than {table}: {error}") from None

    def _quarantine(self, path: Path, why: str) -> None:
        moved = quarantine(path, self.folder)
        if moved is not None:
            warnings.warn(f"{why}; set aside as {moved}", DamagedFileWarning, stacklevel=3)


def concat(table: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of several frames of a table, in order; an empty table if there are none."""
    frames = [f for f in frames if len(f)]
    return pd.concat(frames, ignore_index=True) if frames else make_frame(table, {}, 0)


def differences(
    before: Any, now: Any, where: str = "", words: tuple[str, str] = ("there", "now")
) -> list[str]:
    """What differs between two nested mappings, a line each."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = sorted({*before, *now})
        return [
            d
            for k in keys
            for d in differences(before.get(k), now.get(k), f"{where}.{k}" if where else str(k), words)
        ]
    return [] if before == now else [f"{where}: {_short(before)} {words[0]}, {_short(now)} {words[1]}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _checked(key: str) -> str:
    """A unit's key, which may come from a file: nothing that leads out of the folder."""
    if not re.fullmatch(KEY, key):
        raise StoreError(f"{key!r} is not a unit key")
    return key


def _is_foreign(path: Path) -> bool:
    return not (path.name.startswith(".config.toml.") and path.name.endswith(".part"))


_PANDAS = {
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype(na_value=float("nan")),
}
