"""The analyses of a run from a configuration file, written as tables beside its records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._utils.files import write_atomically
from .._utils.formatting import ball_text
from ..adapters import Adapter, adapt
from ..attacks import Attack
from ..attacks.suite import load_attacks_for
from ..diagnostics import diagnose
from ..errors import AttackNotUsableError
from ..records import Records
from ..typing import Norm
from .profile import radial_profile
from .scaling import scale_sweep
from .trajectory import trace_attack

DEFAULT_SWEEP = "art:ProjectedGradientDescent(max_iter=20)"
"""Default attack of a scale sweep: one that uses the plain gradient."""


@dataclass(frozen=True)
class Analyses:
    """Which analyses to make beside findings.

    Attributes:
        trajectories: Attacks to trace: `trajectories.parquet`, `valley.parquet`, `trajectories.csv` (quantiles).
        sweeps: Attacks of the scale sweep: `scale_sweep.parquet` (per sample), `scale_sweep.csv`.
        profile: Also `radial_profile.parquet`, `radial_profile.csv` (conditions per sample).
    """

    trajectories: Sequence[str | Attack] = ()
    sweeps: Sequence[str | Attack] = ()
    profile: bool = False


NO_ANALYSES = Analyses()


def write_analyses(
    results: Records,
    models: Mapping[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    folder: Path,
    analyses: Analyses = NO_ANALYSES,
    *,
    samples: np.ndarray | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> dict[str, Path]:
    """Trajectories, scale sweeps, profiles and findings of every model, as tables in a folder.

    An attack that takes δ is run at every radius of the run in each of its norms, another one once per norm, read at
    the largest. Existing tables that were made from the same inputs and settings are not computed again.

    Args:
        results: The run.
        models: Model name → estimator or adapted classifier.
        x: Clean inputs to analyse, shape (n, ...).
        y: Their labels.
        folder: Destination of the tables.
        analyses: Which tables beside the findings.
        samples: Ids of the samples, shape (n,); 0…n−1 if None.
        notify: Called with a message before each step.

    Returns:
        Name of each table → its path; `findings.csv` is always among them.

    Raises:
        AttackNotUsableError: If an attack supports none of the norms of the run.
    """
    nets = {name: adapt(model) for name, model in models.items()}
    ids = np.arange(len(x)) if samples is None else np.asarray(samples)
    work = _RunAnalyses(results, nets, x, y, ids, notify)
    folder.mkdir(parents=True, exist_ok=True)
    traced, swept = (_attacks_in(work.deltas, names) for names in (analyses.trajectories, analyses.sweeps))
    jobs = [
        _Job("trajectories", [a.hash for a in traced], lambda: work.trajectories(traced), bool(traced)),
        _Job("scale_sweep", [a.hash for a in swept], lambda: work.sweeps(swept), bool(swept)),
        _Job("radial_profile", [], work.profiles, analyses.profile),
    ]
    names = [table for job in jobs if job.is_wanted for table in _write_job(work, job, folder)]
    result = pd.read_csv(folder / "scale_sweep.csv") if swept else None
    _write(folder / "findings.csv", work.findings(result))
    return {name: folder / name for name in [*names, "findings.csv"]}


class _Job(NamedTuple):
    """One analysis: the settings that determine its tables, and the function that computes them."""

    name: str
    settings: list[Any]
    make: Callable[[], dict[str, pd.DataFrame]]
    is_wanted: bool


def _write_job(work: _RunAnalyses, job: _Job, folder: Path) -> list[str]:
    """Write the tables of an analysis unless they are up to date; return their names."""
    done, key = _read_keys(folder), work.key(job.name, job.settings)
    before = done.get(job.name, {})
    if before.get("key") == key and all((folder / table).exists() for table in before["tables"]):
        return list(before["tables"])
    tables = job.make()
    for file, frame in tables.items():
        _write(folder / file, frame)
    done[job.name] = {"key": key, "tables": list(tables)}
    write_atomically(folder / "analyses.json", json.dumps(done, indent=2))
    return list(tables)


class _RunAnalyses:
    """Inputs and settings shared by the analyses of one run."""

    def __init__(
        self,
        results: Records,
        nets: Mapping[str, Adapter],
        x: np.ndarray,
        y: np.ndarray,
        ids: np.ndarray,
        notify: Callable[[str], None],
    ) -> None:
        self.results, self.nets, self.x, self.y, self.ids, self.notify = results, nets, x, y, ids, notify
        self.seed = int(results.facts["seed"])
        self.deltas: dict[Norm, list[float]] = results.facts["deltas"]

    def key(self, name: str, settings: list[Any]) -> str:
        """Hash of everything that determines the tables of an analysis."""
        from .._utils.hashing import content_hash
        from .._version import __version__

        identities = {m: net.identity() for m, net in self.nets.items()}
        data = content_hash(self.x, self.y, self.ids)
        parts = [__version__, name, settings, identities, data, self.results.facts["deltas"], self.seed]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    def cells(self, attacks: Iterable[Attack], what: str) -> Iterator[tuple[str, Attack, str, float]]:
        """Model, attack, norm and δ of every analysis to run."""
        for model in self.nets:
            for attack in attacks:
                for norm in (n for n in self.deltas if n in attack.info.norms):
                    deltas = self.deltas[norm]
                    for delta in deltas if attack.info.budget == "fixed" else [max(deltas)]:
                        self.notify(f"{what}: {model}, {attack.name}, {ball_text(norm, delta)}")
                        yield model, attack, norm, delta

    def trajectories(self, attacks: Sequence[Attack]) -> dict[str, pd.DataFrame]:
        """Steps, valleys and their quantiles."""
        steps, valleys, summaries = [], [], []
        for model, attack, norm, delta in self.cells(attacks, "trajectories"):
            seen = trace_attack(
                self.nets[model], attack, self.x, self.y, delta=delta, norm=norm, seed=self.seed
            )
            key = {"model": model, "attack": attack.name, "norm": norm, "delta": delta}
            steps.append(self._named(seen.frame(), key))
            valleys.append(self._named(seen.valley(), key))
            summaries.append(
                seen.summary().assign(model=model, delta=delta, matching_exact=seen.matching_exact)
            )
        return {
            "trajectories.parquet": _stacked(steps),
            "valley.parquet": _stacked(valleys),
            "trajectories.csv": _stacked(summaries),
        }

    def sweeps(self, attacks: Sequence[Attack]) -> dict[str, pd.DataFrame]:
        """Scale sweeps, per scale and per sample."""
        tables, rows = [], []
        for model, attack, norm, delta in self.cells(attacks, "scale sweep"):
            result = scale_sweep(
                self.nets[model], attack, self.x, self.y, delta=delta, norm=norm, seed=self.seed
            )
            key = {"model": model, "attack": attack.name, "norm": norm, "delta": delta}
            tables.append(result.frame().assign(model=model))
            rows.append(self._named(result.samples, key))
        return {"scale_sweep.csv": _stacked(tables), "scale_sweep.parquet": _stacked(rows)}

    def profiles(self) -> dict[str, pd.DataFrame]:
        """Rays, and conditions per sample."""
        rays, conditions = [], []
        for model, net in self.nets.items():
            self.notify(f"radial profile: {model}")
            result = radial_profile(net, self.x, self.y, seed=self.seed)
            rays.append(self._named(result.frame(), {"model": model}))
            conditions.append(self._named(result.conditions(), {"model": model}))
        return {"radial_profile.parquet": _stacked(rays), "radial_profile.csv": _stacked(conditions)}

    def findings(self, sweeps: pd.DataFrame | None) -> pd.DataFrame:
        """Findings of `diagnose` from records, models and sweeps."""
        tables = {}
        if sweeps is not None:
            for keys, part in sweeps.groupby(["model", "attack", "norm", "delta"], sort=False):
                tables[f"{keys[0]}, {ball_text(keys[2], keys[3])}"] = part
        result = diagnose(self.results, self.nets, self.x, self.y, sweeps=tables)
        rows = [
            {
                "id": f.id,
                "severity": f.severity,
                "what": f.what,
                "advice": f.advice,
                "samples": list(f.samples),
            }
            for f in result
        ]
        return pd.DataFrame(rows, columns=["id", "severity", "what", "advice", "samples"])

    def _named(self, frame: pd.DataFrame, key: Mapping[str, Any]) -> pd.DataFrame:
        frame = frame.assign(sample=self.ids[frame["sample"]])
        for position, (name, value) in enumerate(key.items()):
            frame.insert(position, name, value)
        return frame


def _attacks_in(deltas: Mapping[Norm, Any], names: Sequence[str | Attack]) -> list[Attack]:
    """The attacks that can be analysed in the norms of a run."""
    attacks, left_out = load_attacks_for(list(names), list(deltas)) if names else ([], [])
    for attack in attacks or left_out:
        if not set(attack.info.norms) & set(deltas):
            raise AttackNotUsableError(
                f"{attack.name} supports {', '.join(attack.info.norms)}, but the run has radii in {', '.join(deltas)}; "
                "leave it out of the analyses, or add a radius in one of its norms"
            )
    return attacks


def _stacked(frames: list[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat(frames, ignore_index=True)
    return frame[["model", *(c for c in frame.columns if c != "model")]]


def _read_keys(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "analyses.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write(path: Path, frame: pd.DataFrame) -> None:
    is_text = path.suffix == ".csv"
    write_atomically(path, frame.to_csv(index=False) if is_text else frame.to_parquet(index=False))
