"""`manifest.json`: content of a results folder, settings and environment; strict JSON, validated when read."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import StoreError
from ..typing import Norm
from .schema import SCHEMA_VERSION

_PACKAGES = (
    *("art-flat", "torch", "torchvision", "adversarial-robustness-toolbox", "torchattacks"),
    *("numpy", "scikit-learn", "pandas", "pyarrow"),
)
KEY = r"[0-9A-Za-z_-]{1,64}"
"""Pattern of a unit's key, which is part of file names."""

Key = Annotated[str, Field(pattern=rf"^{KEY}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


class AttackFacts(_Part):
    """Facts about one attack of the run; see `AttackInfo`."""

    name: str
    short_name: str = ""
    """The name for tables, see `Attack.short_name`; empty in folders of earlier versions."""
    hash: str
    library_version: str
    norms: list[Norm]
    budget: str
    access: str
    maximises_loss: bool
    usability: str
    notes: list[str]
    run_in: list[Norm]
    steps: list[dict[str, Any]] = []


class Manifest(_Part):
    """The whole manifest."""

    run: Key | None = None
    """Hash of all that determines the records; every file of the run states it."""
    seed: int
    target: str | None = None
    """Rule for the target classes, see `Targets.rule`; None for an untargeted run."""
    threads: int = Field(ge=1)
    n_samples: int = Field(ge=1)
    levels: int | None = None
    """Number of values of an element to which the points were rounded."""
    class_names: list[str] = []
    """Names of the classes in the order of the labels, if the data set has them."""
    clean_units: list[Key] = []
    """Keys of the units of the clean table, in the order of the samples."""
    certificate_units: list[Key] = []
    """Keys of the units with bounds over balls of inputs."""
    n_units: int = Field(default=0, ge=0)
    """Number of units of a complete run, beside those of the clean table."""
    epsilons: list[float]
    deltas: dict[Norm, list[float]]
    models: dict[str, dict[str, str]]
    attacks: list[AttackFacts]
    certificates: dict[str, Any] = {}
    models_asked: dict[str, dict[str, Any]] = {}
    """Model → result of `diagnostics.probes.probe_model`."""
    data_asked: dict[str, Any] = {}
    """Result of `diagnostics.probes.probe_data`."""
    random_models: dict[str, float | None] = {}
    """Models whose outputs differ between two passes over the same inputs → difference relative to their size."""


def manifest_text(facts: Mapping[str, Any]) -> str:
    """The manifest as text.

    Args:
        facts: See `Manifest`; the schema version is added.

    Returns:
        Strict JSON.
    """
    return json.dumps({"schema": SCHEMA_VERSION, **facts}, indent=2, allow_nan=False, ensure_ascii=False)


def parse_manifest(content: bytes, path: Path) -> dict[str, Any]:
    """The facts in a manifest.

    Args:
        content: The file's bytes.
        path: Its path, for messages.

    Returns:
        The facts, without the schema version.

    Raises:
        StoreError: If it is damaged, or of a different version.
    """
    try:
        raw = json.loads(content.decode(), parse_constant=_no_number)
        schema = raw.pop("schema")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = "no schema" if isinstance(error, KeyError) else str(error)
        raise StoreError(f"{path.parent} holds no art_flat results: {path.name}: {reason}") from None
    if schema != SCHEMA_VERSION:
        raise StoreError(f"{path.parent} has schema {schema!r}, this version reads schema {SCHEMA_VERSION}")
    try:
        return Manifest.model_validate(raw).model_dump()
    except (ValidationError, RecursionError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise StoreError(f"{path} is damaged: {reason}; it is written again by the run's command") from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not valid JSON")


def environment() -> dict[str, Any]:
    """Versions of Python, the system and the relevant packages; None for a package that is not installed."""

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
