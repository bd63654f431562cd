"""All data that the report page draws, as plain lists and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .._utils.formatting import NORM_SIGNS
from ..records import ALL_ATTACKS, Records
from ..summaries import surface
from ._analyses import read_analyses
from ._clouds import ScatterData
from ._embed import embed
from ._look import BLUE, CYCLE, GREY, KAPPA_ZERO, OUTCOME_COLOURS
from ._numbers import short, shorts
from .attack_names import short_names
from .attack_runs import attack_runs

COLUMNS = {
    "robust_accuracy": ("robust accuracy", "n_evaluated"),
    "target_success": ("target reached", "n_evaluated"),
    "loss_robust": ("Δℓ ≤ ε", "n_evaluated"),
    "loss_optimality": ("of the best in loss", "score"),
    "distance_optimality": ("of the best in distance", "score"),
    "minimum_loss_increase": ("median min. loss increase", "nats"),
    "flatness_ratio": ("median κ ratio", "number"),
    "flat_fraction": ("flatter, of the broken", "n_adversarial"),
    "confidently_wrong_fraction": ("confidently wrong", "n_evaluated"),
    "forwards": ("forwards", "number"),
    "seconds": ("seconds", "time"),
}
"""Columns of the table of attacks: title, and the kind of number or, for a share, the column of its denominator."""


def page_data(results: Records, definition: Any, scores: pd.DataFrame) -> dict[str, Any]:
    """Data for the script of the page.

    Args:
        results: The run.
        definition: Definition of the relative sharpness κ.
        scores: The summary at the run's values of ε, with short names and optimality.

    Returns:
        Valid JSON: NaN is null, ±∞ are ±1e300.
    """
    clouds = ScatterData(results, definition)
    untargeted = {"target_success"} if results.facts.get("target") is None else set()
    cells = [{**cell._asdict(), **clouds.cell(cell)} for cell in clouds.cells]
    images = embed(results, clouds, cells)
    epsilon, names = middle(results.facts["epsilons"]), short_names(results)
    return {
        "models": clouds.models,
        "zero": KAPPA_ZERO,
        "attacks": [names.get(a, a) for a in clouds.attacks],
        "all": ALL_ATTACKS,
        "signs": NORM_SIGNS,
        "colours": {"cycle": CYCLE, "blue": BLUE, "grey": GREY, "outcomes": OUTCOME_COLOURS},
        "definition": definition,
        "stated": clouds.stated,
        "cells": cells,
        "clean": clouds.clean,
        "images": images,
        "surfaces": _surfaces(surface(results)),
        "epsilon": epsilon,
        "columns": [[name, *words] for name, words in COLUMNS.items() if name not in untargeted],
        "table": _table(scores, epsilon),
        "curves": _curves(scores),
        "analyses": read_analyses(results.folder),
    }


def middle(epsilons: list[float]) -> float:
    """The middle one of the tolerated loss changes, for figures and sentences that show one."""
    return sorted(epsilons)[len(epsilons) // 2]


def _surfaces(table: pd.DataFrame) -> list[dict[str, Any]]:
    surfaces = []
    for (model, norm), part in table.groupby(["model", "norm"], sort=False):
        grids = {
            c: part.pivot(index="epsilon", columns="delta", values=c) for c in ("certified", "empirical")
        }
        grid = grids["empirical"]
        surfaces.append(
            {
                "model": str(model),
                "norm": str(norm),
                "deltas": shorts(grid.columns, 9),
                "epsilons": shorts(grid.index, 6),
                **{c: [shorts(row) for row in g.to_numpy(float)] for c, g in grids.items()},
            }
        )
    return surfaces


def _table(summary: pd.DataFrame, epsilon: float) -> list[dict[str, Any]]:
    """Rows of the table of attacks; those of a sequence have the rows of its steps in `steps`."""
    robust = f"loss_change_robustness@{epsilon:g}"
    frame = summary.rename(columns={robust: "loss_robust"})
    return [
        {
            **_row(row),
            "steps": [
                _row(r) for step in run.steps for r in step[step["delta"] == row["delta"]].to_dict("records")
            ],
        }
        for run in attack_runs(frame)
        for row in run.rows.to_dict("records")
    ]


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        **{c: str(row[c]) for c in ("model", "attack", "source_model", "norm")},
        "delta": float(row["delta"]),
        "maximises_loss": bool(row["maximises_loss"]),
        "failed": int(row["n_failed"]),
        **{c: int(row[c]) for c in ("n_evaluated", "n_adversarial")},
        **{c: short(row[c]) for c in COLUMNS},
    }


def _curves(summary: pd.DataFrame) -> list[dict[str, Any]]:
    keys = ("model", "norm", "attack", "source_model")
    curves = []
    for run in attack_runs(summary):
        part = run.rows.sort_values("delta", kind="stable")
        first = part.iloc[0]
        curves.append(
            {
                **{key: str(first[key]) for key in keys},
                "accuracy": short(first["accuracy"]),
                "delta": shorts(part["delta"], 9),
                "robust": shorts(part["robust_accuracy"]),
                "certified": shorts(part["certified_accuracy"]),
            }
        )
    return curves
