"""A results folder: four tables in Parquet, the configuration in TOML, the environment in JSON.

```
models.parquet  clean.parquet  certified.parquet      one file each
adversarial/<unit>.parquet                            one file per unit, written when the unit is done
points/clean.safetensors  points/<unit>.safetensors   on request
config.toml  environment.json  summary.csv
```
"""

from __future__ import annotations

import json
import os
import platform
import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
import tomli_w

from .._errors import StoreError
from .points import ADVICE, CLEAN_POINTS, Saved
from .records import SCHEMA_VERSION, TABLES, make_frame, to_arrow

_PACKAGES = (
    *("art-flat", "torch", "torchvision", "adversarial-robustness-toolbox", "torchattacks"),
    *("numpy", "scikit-learn", "pandas", "pyarrow"),
)


class Store:
    """Reads and writes a results folder; every file appears whole or not at all.

    Args:
        folder: The folder; made when something is written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Make the folder ready for a run with this configuration.

        Raises:
            StoreError: If the folder holds another run, or something else.
        """
        known = self.folder / "config.toml"
        if known.exists():
            before, now = (
                {k: v for k, v in c.items() if k != "epsilons"} for c in (self.read_config(), config)
            )
            changed = _differences(before, json.loads(json.dumps(now)))
            if changed:
                raise StoreError(
                    f"{self.folder} holds a run with another configuration:\n  " + "\n  ".join(changed) + "\n"
                    "use another folder, or delete this one"
                )
        elif self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise StoreError(f"{self.folder} is not empty and holds no art_flat results; use another folder")
        (self.folder / "adversarial").mkdir(parents=True, exist_ok=True)
        self._write("config.toml", tomli_w.dumps(dict(config)).encode())

    def read_config(self) -> dict[str, Any]:
        """The configuration of the run in this folder."""
        try:
            return tomllib.loads((self.folder / "config.toml").read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"cannot read {self.folder / 'config.toml'}: {error}") from None

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Versions, seeds and facts about the run, as JSON."""
        text = json.dumps({"schema": SCHEMA_VERSION, **facts}, indent=2, allow_nan=False, ensure_ascii=False)
        self._write("environment.json", text.encode())

    def read_environment(self) -> dict[str, Any]:
        """What `write_environment` wrote; its schema version is checked."""
        path = self.folder / "environment.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            schema = facts["schema"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.folder} holds no art_flat results: {path.name}: {error}") from None
        if schema != SCHEMA_VERSION:
            raise StoreError(f"{self.folder} has schema {schema}, this version reads schema {SCHEMA_VERSION}")
        return dict(facts)

    def write_table(self, table: str, frame: pd.DataFrame) -> None:
        """One of the tables that are a single file."""
        self._write(f"{table}.parquet", _parquet(to_arrow(table, frame)))

    def write_unit(self, key: str, frame: pd.DataFrame) -> None:
        """The adversarial rows of one unit."""
        self._write(f"adversarial/{_checked_name(key)}.parquet", _parquet(to_arrow("adversarial", frame)))

    def read_unit(self, key: str) -> pd.DataFrame | None:
        """The rows of a unit, or None where they are missing or cannot be read, so that it must be computed."""
        path = self.folder / "adversarial" / f"{_checked_name(key)}.parquet"
        try:
            return _read(path, "adversarial")
        except (OSError, StoreError):
            return None

    def read_table(self, table: str) -> pd.DataFrame:
        """One of the four tables.

        Returns:
            The table, with every column.

        Raises:
            StoreError: If it is missing or damaged.
        """
        if table != "adversarial":
            return _read(self.folder / f"{table}.parquet", table)
        frames = [_read(p, table) for p in sorted((self.folder / table).glob("*.parquet"))]
        return pd.concat(frames, ignore_index=True) if frames else make_frame(table, {}, 0)

    def write_points(self, name: str, points: Saved) -> None:
        """The points of a unit, or the clean ones, with their sample ids."""
        x, samples = points
        content = safetensors.numpy.save({"x": np.ascontiguousarray(x), "sample": samples})
        self._write(f"points/{_checked_name(name)}.safetensors", content)

    def has_points(self, name: str = CLEAN_POINTS) -> bool:
        """Whether the points of a unit, or the clean ones, were kept."""
        return (self.folder / "points" / f"{_checked_name(name)}.safetensors").is_file()

    def read_points(self, name: str) -> Saved:
        """What `write_points` wrote.

        Returns:
            Points and sample ids.

        Raises:
            StoreError: If there is no such file, or it is damaged.
        """
        path = self.folder / "points" / f"{_checked_name(name)}.safetensors"
        if not path.is_file():
            raise StoreError(f"{path} is missing: no such points were kept; {ADVICE}")
        try:
            tensors = safetensors.numpy.load(path.read_bytes())
            x, samples = tensors["x"], tensors["sample"]
        except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
            raise StoreError(f"cannot read {path}: {error}; delete it and run again") from None
        if samples.dtype != np.int64 or samples.ndim != 1 or x.shape[:1] != samples.shape:
            raise StoreError(f"{path} does not hold points `x` (n, ...) with ids `sample` (n,)")
        return x, samples

    def write_summary(self, frame: pd.DataFrame) -> None:
        """The summary, as CSV."""
        self._write("summary.csv", frame.to_csv(index=False).encode())

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """Versions of Python, of the system and of the packages that matter; None for a package that is missing."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {p: installed(p) for p in _PACKAGES},
    }


def _checked_name(name: str) -> str:
    """A unit's key, which may come from a file: nothing that leads out of the folder."""
    if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", name):
        raise StoreError(f"{name!r} is no unit's key")
    return name


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _read(path: Path, table: str) -> pd.DataFrame:
    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"cannot read {path}: {error}") from None
    expected = pa.schema(list(TABLES[table].items()))
    if found.schema.names != expected.names:
        raise StoreError(f"{path} has other columns than the table {table}: {', '.join(found.schema.names)}")
    return found.cast(expected).to_pandas(types_mapper=_PANDAS.get)


_PANDAS = {
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype(na_value=float("nan")),
}


def _differences(before: Any, now: Any, where: str = "") -> list[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = sorted({*before, *now})
        return [
            d
            for k in keys
            for d in _differences(before.get(k), now.get(k), f"{where}.{k}" if where else str(k))
        ]
    return [] if before == now else [f"{where}: {before!r} there, {now!r} now"]
