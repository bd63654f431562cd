"""The files of a results folder that describe the whole run: configuration, manifest, models, summary."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import tomli_w

from .._utils.files import PART_SUFFIX
from ..errors import StoreError
from .checked_folder import CHECKSUMS, CheckedFolder
from .differences import differences
from .files import parquet, parse_parquet, parse_tensors, tensors
from .fingerprint import Fingerprint, from_arrays, to_arrays
from .manifest import manifest_text, parse_manifest
from .schema import PANDAS_DTYPES, SCHEMA_VERSION, TABLES, to_arrow

IN_UNITS = ("clean", "certified", "adversarial")
"""Tables with one file per unit."""

FREE_OPTIONS = ("epsilons", "save_adversarial", "time_limit", "n_jobs", "part")
"""Options that may differ between two runs in one folder, since no record depends on them."""

_FINGERPRINTS = "fingerprints.safetensors"


class RunFolder:
    """Reads and writes the files that describe the whole run; see `Store` for units and points.

    Args:
        folder: The folder; created at the first write.
        run: Hash of all that determines the records; stated and checked in every file. None to read the folder
            that is there.
    """

    def __init__(self, folder: str | os.PathLike[str], run: str | None = None) -> None:
        self.folder = Path(folder)
        self.run = run
        self._files = CheckedFolder(self.folder)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Prepare the folder for a run with this configuration.

        Raises:
            StoreError: If the folder holds a different run, or other files.
        """
        config_path = self.folder / "config.toml"
        foreign = self.folder.exists() and (
            not self.folder.is_dir() or any(map(_is_foreign, self.folder.iterdir()))
        )
        if config_path.exists():  # checked last, since another process writes it first
            before, now = (
                {k: v for k, v in c.items() if k not in FREE_OPTIONS}
                for c in (self.read_config(), json.loads(json.dumps(config)))
            )
            changed = differences(before, now)
            if changed:
                raise StoreError(
                    f"{self.folder} holds a run with a different configuration:\n  "
                    + "\n  ".join(changed)
                    + "\n"
                    "use another folder, or delete this one"
                )
        elif foreign:
            raise StoreError(f"{self.folder} is not empty and holds no art_flat results; use another folder")
        self._write("config.toml", tomli_w.dumps(dict(config)).encode())
        for table in IN_UNITS:
            self._files.inside(table).mkdir(exist_ok=True)

    def read_config(self) -> dict[str, Any]:
        """The configuration of the run in this folder."""
        path = self.folder / "config.toml"
        content = self._files.read(path)
        try:
            return tomllib.loads(content.decode())
        except (ValueError, RecursionError) as error:
            raise StoreError(f"cannot read {path}: {error}") from None

    def write_manifest(self, facts: Mapping[str, Any]) -> None:
        """Write the manifest: versions, seeds and metadata of the run."""
        self._write("manifest.json", manifest_text(facts).encode())

    def read_manifest(self) -> dict[str, Any]:
        """The validated manifest; every file read afterwards must belong to its run."""
        facts = self._manifest()
        self.run = facts["run"]
        return facts

    def manifest_if_any(self) -> dict[str, Any]:
        """The manifest, or an empty mapping if there is no readable one."""
        try:
            return self._manifest()
        except StoreError:
            return {}

    def write_summary(self, frame: pd.DataFrame) -> None:
        """Write the summary as CSV."""
        self._write("summary.csv", frame.to_csv(index=False).encode())

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

    def write_fingerprints(self, fingerprints: Mapping[str, Fingerprint]) -> None:
        """Write the outputs of the models on the probe inputs."""
        self._write(_FINGERPRINTS, tensors(to_arrays(fingerprints), self._facts("fingerprints", "")))

    def read_fingerprints(self) -> dict[str, Fingerprint]:
        """The outputs of the models on the probe inputs.

        Returns:
            Model name → outputs.

        Raises:
            StoreError: If the file is missing or damaged.
        """
        path = self.folder / _FINGERPRINTS
        try:
            return from_arrays(parse_tensors(self._files.read(path), path, self._facts("fingerprints", "")))
        except (StoreError, KeyError, ValueError) as error:
            raise StoreError(
                f"{error}; without it, the units of {self.folder} cannot be attributed to these models, so they can be "
                "read but neither continued nor merged"
            ) from None

    def _facts(self, table: str, unit: str) -> dict[str, Any]:
        return {"schema": SCHEMA_VERSION, "table": table, "unit": unit, "run": self.run}

    def _write(self, name: str, content: bytes) -> None:
        self._files.write(self._files.inside(name), content)

    def _manifest(self) -> dict[str, Any]:
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise StoreError(f"{self.folder} holds no art_flat results: it has no {path.name}")
        content = self._files.read_unchecked(path)
        facts = parse_manifest(
            content, path
        )  # first, since it knows other schemas, of folders without checksums
        self._files.verify(path, content)
        return facts

    def _read(self, path: Path, table: str, unit: str) -> pd.DataFrame:
        table_read = parse_parquet(self._files.read(path), path, self._facts(table, unit))
        expected = pa.schema(list(TABLES[table].items()))
        if table_read.schema.names != expected.names:
            raise StoreError(
                f"{path} does not have the columns of {table}: {', '.join(table_read.schema.names)}"
            )
        try:
            return table_read.cast(expected).to_pandas(types_mapper=PANDAS_DTYPES.get)
        except pa.ArrowException as error:
            raise StoreError(f"{path} does not have the column types of {table}: {error}") from None


def _is_foreign(path: Path) -> bool:
    """Whether a file in a folder without a configuration was not created by the start of a run."""
    is_part = path.name.startswith(".config.toml.") and path.name.endswith(PART_SUFFIX)
    return not is_part and path.name != CHECKSUMS
