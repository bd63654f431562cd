"""Units of work: one experiment, variant of its settings, net and seed; each is measured once and kept."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import art_flat as af

from .cases import Nets
from .outcome import Measured, Outcome

SOURCES = {"public": "public nets", "own": "own nets"}
_DONE = "done.json"


@dataclass(frozen=True)
class Experiment:
    """How a finding is measured on one block of images, and what follows from all blocks.

    Attributes:
        measure: One of `measures`; its keyword arguments are what an experiment can set.
        conclude: Tables of all units → the outcome.
        together: Whether a unit takes all nets at once, as for transfer.
    """

    measure: Callable[..., dict[str, pd.DataFrame]]
    conclude: Callable[[Measured], Outcome]
    together: bool = False


@dataclass(frozen=True)
class Unit:
    """What one call of a measure is about."""

    what: str
    nets: tuple[str, ...]
    n: int
    seed: int
    measure: str
    arguments: dict[str, Any]

    def folder(self, work: Path, nets: Nets) -> Path:
        """Where the unit is kept: whoever measures the same thing on the same weights finds it there."""
        facts = asdict(self) | {"what": "", "weights": [nets[name].hash(self.seed) for name in self.nets]}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return work / f"{self.measure}-{'-'.join(self.nets)}-{self.seed}-{digest[:12]}"


def plan(experiment: Experiment, section: dict[str, Any], source: str, n: int | None = None) -> list[Unit]:
    """The units of an experiment on the nets of one source; none if its settings have no such part."""
    if source not in section:
        return []
    common = {k: v for k, v in section.items() if k not in SOURCES} | section[source]
    names = [
        name
        for name, p in inspect.signature(experiment.measure).parameters.items()
        if p.kind is p.KEYWORD_ONLY
    ]
    units = []
    for variant in common.get("variants", [{}]):
        mine = common | variant
        groups = [tuple(mine["nets"])] if experiment.together else [(net,) for net in mine["nets"]]
        arguments = {name: mine[name] for name in names if name in mine}
        units += [
            Unit(mine.get("what", ""), group, n or mine["n"], seed, experiment.measure.__name__, arguments)
            for group, seed in product(groups, range(mine["seeds"]))
        ]
    return units


def measure(experiment: Experiment, unit: Unit, nets: Nets, work: Path) -> Path:
    """Measure a unit unless it is there already.

    Returns:
        Its folder, with a Parquet file per table and `done.json` (cost and versions).
    """
    folder = unit.folder(work, nets)
    if (folder / _DONE).is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    cases = [nets[name].case(unit.seed, unit.n) for name in unit.nets]
    for name, table in experiment.measure(cases, unit.seed, folder, **unit.arguments).items():
        table.to_parquet(folder / f"{name}.parquet")
    facts = {
        **asdict(unit), "processor_seconds": round(time.process_time() - began, 1), "torch": torch.__version__,
        "art_flat": af.__version__, "processor": platform.machine(), "kernels": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip
    partial = folder / f"{_DONE}.partial"
    partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    os.replace(partial, folder / _DONE)
    return folder


def collect(units: Sequence[Unit], folders: Sequence[Path], settings: dict[str, Any]) -> Measured:
    """The tables of all units, one below the other."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for unit, folder in zip(units, folders, strict=True):
        who = {"what": unit.what, "net": " + ".join(unit.nets), "seed": unit.seed}
        for path in sorted(folder.glob("*.parquet")):
            parts.setdefault(path.stem, []).append(pd.read_parquet(path).assign(**who))
    where = {(u.what, " + ".join(u.nets), u.seed): f for u, f in zip(units, folders, strict=True)}
    return Measured({name: pd.concat(tables) for name, tables in parts.items()}, where, settings)


def costs(folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """What `done.json` says of each unit."""
    for folder in dict.fromkeys(folders):
        yield json.loads((folder / _DONE).read_text(encoding="utf-8"))
