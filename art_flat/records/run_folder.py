"""The files of a results folder that are about the run as a whole: configuration, manifest, models, summary."""

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
from .schema import SCHEMA_VERSION, TABLES, to_arrow

IN_UNITS = ("clean", "certified", "adversarial")
"""Tables with a file per unit."""

FREE_OPTIONS = ("epsilons", "save_adversarial", "time_limit", "n_jobs", "part")
"""What may change between two runs in one folder, since it decides no record."""

_FINGERPRINTS = "fingerprints.safetensors"


class RunFolder:
    """Reads and writes the files of a run as a whole; see `Store` for the others.

    Args:
        folder: The folder; made when something is written.
        run: Hash of all that determines the records; stated and checked in every file. None to read the folder
            that is there.
    """

    def __init__(self, folder: str | os.PathLike[str], run: str | None = None) -> None:
        self.folder = Path(folder)
        self.run = run
        self._files = CheckedFolder(self.folder)

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
        """Versions, seeds and facts about the run."""
        self._write("manifest.json", manifest_text(facts).encode())

    def read_manifest(self) -> dict[str, Any]:
        """What `write_manifest` wrote, checked; from now on every file is checked to be of the same run."""
        facts = self._manifest()
        self.run = facts["run"]
        return facts

    def manifest_if_any(self) -> dict[str, Any]:
        """Contents of the manifest, if there is a readable one."""
        try:
            return self._manifest()
        except StoreError:
            return {}

    def write_summary(self, frame: pd.DataFrame) -> None:
        """The summary, as CSV."""
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
        found = parse_parquet(self._files.read(path), path, self._facts(table, unit))
        expected = pa.schema(list(TABLES[table].items()))
        if found.schema.names != expected.names:
            raise StoreError(f"{path} has other columns than {table}: {', '.join(found.schema.names)}")
        try:
            return found.cast(expected).to_pandas(types_mapper=_PANDAS.get)
        except pa.ArrowException as error:
            raise StoreError(f"{path} has other types of columns than {table}: {error}") from None


def _is_foreign(path: Path) -> bool:
    """Whether a file in a folder without a configuration comes from something else than the start of a run."""
    is_part = path.name.startswith(".config.toml.") and path.name.endswith(PART_SUFFIX)
    return not is_part and path.name != CHECKSUMS


_PANDAS = {
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype(na_value=float("nan")),
}
