"""The analyses of a run folder as data for the report page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..summaries.step_quantiles import step_quantiles
from ._look import power_of_ten
from ._numbers import short, shorts, to_ints
from .plots.analyses import ALONG_RAYS, RAYS, SWEEP_SHARES

KEYS = ["model", "attack", "norm", "delta"]
BAND = (0.1, 0.5, 0.9)


def read_analyses(folder: Path | None) -> dict[str, list[dict[str, Any]]]:
    """Trajectories, sweeps and profiles of a results folder; lists are empty where there are none."""
    tables = {
        name: _table(folder, name) for name in ("trajectories.parquet", "valley.parquet", "scale_sweep.csv")
    }
    profile = _table(folder, "radial_profile.parquet")
    return {
        "trajectories": list(_trajectories(tables["trajectories.parquet"], tables["valley.parquet"])),
        "sweeps": list(_sweeps(tables["scale_sweep.csv"])),
        "profiles": list(_profiles(profile)),
    }


def read_findings(folder: Path | None) -> list[dict[str, str]]:
    """Findings of the analyses, in addition to those of the records."""
    table = _table(folder, "findings.csv")
    if table is None:
        return []
    columns = ["id", "severity", "what", "advice"]
    return [{c: str(row[c]) for c in columns} for row in table[columns].fillna("").to_dict("records")]


def _table(folder: Path | None, name: str) -> pd.DataFrame | None:
    path = None if folder is None else folder / "analyses" / name
    if path is None or not path.exists():
        return None
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def _groups(table: pd.DataFrame | None) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    if table is None:
        return
    for values, part in table.groupby(KEYS, sort=False, dropna=False):
        model, attack, norm, delta = values
        yield {"model": str(model), "attack": str(attack), "norm": str(norm), "delta": short(delta, 9)}, part


def _trajectories(steps: pd.DataFrame | None, valley: pd.DataFrame | None) -> Iterator[dict[str, Any]]:
    if steps is None or valley is None:
        return
    by_key = {tuple(head.values()): part for head, part in _groups(valley)}
    for head, part in _groups(steps):
        samples = by_key[tuple(head.values())]
        right = samples[samples["right_clean"].astype(bool)]
        flips = right["flip_step"].dropna().astype(float)
        ways = {}
        for way, from_flip in (("start", False), ("flip", True)):
            bands = {
                q: step_quantiles(part, samples, q, BAND, from_flip=from_flip)
                for q in ("log_kappa", "loss", "confidence")
            }
            first = bands["log_kappa"]
            ways[way] = {
                "step": to_ints(first["step"]),
                "n": to_ints(first["n"]),
                "kappa": [shorts(power_of_ten(bands["log_kappa"][c])) for c in ("q10", "q50", "q90")],
                **{q: [shorts(bands[q][c]) for c in ("q10", "q50", "q90")] for q in ("loss", "confidence")},
            }
        yield {
            **head,
            **ways,
            "samples": len(right),
            "success": short(right["success"].astype(float).mean()),
            "uncanny": short(right["uncanny"].astype(float).mean()),
            "median_flip": short(flips.median()) if len(flips) else None,
        }


def _sweeps(table: pd.DataFrame | None) -> Iterator[dict[str, Any]]:
    for head, part in _groups(table):
        part = part.sort_values("scale")
        yield {
            **head,
            "samples": int(part["n"].iloc[0]),
            "scale": shorts(part["scale"]),
            "shares": {t: shorts(part[c]) for c, t in SWEEP_SHARES.items() if c in part},
            "kappa": {
                points: [shorts(power_of_ten(part[f"log_kappa_{points}_q{q}"])) for q in (10, 50, 90)]
                for points in ("clean", "adv")
            },
        }


def _profiles(table: pd.DataFrame | None) -> Iterator[dict[str, Any]]:
    if table is None:
        return
    quantities = [q for q in ALONG_RAYS if q != "kappa"]
    for model, part in table.groupby("model", sort=False):
        rays = {}
        for direction, ray in part.groupby("direction", sort=False):
            middle = ray.groupby("radius")[quantities].median()
            middle["log_kappa"] = power_of_ten(middle["log_kappa"])
            rays[RAYS.get(str(direction), str(direction))] = {
                "radius": shorts(middle.index),
                **{q: shorts(middle[q]) for q in quantities},
            }
        yield {"model": str(model), "samples": int(part["sample"].nunique()), "rays": rays}
