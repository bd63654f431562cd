"""The same points across attacks, and the same attack across architectures and data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import art_flat as af

from .outcome import Case, Effect, Outcome
from .valley import trace, valley_effects

NOISE = ("GaussianNoise", "UniformNoise")


def across(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """Adversarial points of attacks that optimise are flatter than the clean points, those of noise are not."""
    (case,) = cases.values()
    rows = []
    for seed, x, y in case.blocks(settings):
        for radius, attacks in settings["attacks"].items():
            delta, norm = radius.split()
            results = af.evaluate(
                {case.name: case.net},
                x,
                y,
                attacks=attacks,
                deltas={norm: [delta]},
                seed=seed,
                lipschitz=None,
            )
            records = results.records()
            for attack, part in records.groupby("attack", sort=False):
                # a minimum-norm attack is read wherever its points lie
                rows.append({"attack": attack, "radius": radius, "seed": seed, **_flatness(part)})
    table = pd.DataFrame(rows)
    effects = []
    for attack, part in table.groupby("attack", sort=False):
        noise = any(name in str(attack) for name in NOISE)
        side = "above" if noise else "below"
        what = "wrong points" if part["n_wrong"].sum() else "all points (no point is wrong)"
        effects.append(
            Effect(f"{attack}: median Δ log κ of {what}", part["change"].tolist(), side)  # type: ignore[arg-type]
        )
    shown = table.groupby(["attack", "radius"], sort=False).mean(numeric_only=True).drop(columns="seed")
    return Outcome(shown.reset_index(), effects)


def _flatness(part: pd.DataFrame) -> dict[str, float]:
    right = part[(part["pred_clean"] == part["label"]) & (part["status"] != "failed")]
    wrong = right[right["pred_adv"] != right["label"]]
    seen = wrong if len(wrong) else right
    change = seen["log_kappa_adv"] - seen["log_kappa_clean"]
    return {
        "n": len(right),
        "n_wrong": len(wrong),
        "change": float(change.median()),
        "change_of_all": float((right["log_kappa_adv"] - right["log_kappa_clean"]).median()),
        "flatter": float((change < 0).mean()),
        "confidence": float(seen["confidence_adv"].median()),
        "distance_l2": float(seen["l2"].median()),
        "seconds": float(part["seconds"].sum()),
    }


def architectures(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """The same pattern on every net."""
    rows, effects = [], []
    for case in cases.values():
        mnist = case.name.startswith("mnist")
        mine = {**settings, "delta": settings["mnist_delta"] if mnist else settings["delta"]}
        found, _ = trace(case, mine)
        rows += found
        effects += valley_effects(found, f"{case.name}: ")[:3]
    table = pd.DataFrame(rows).groupby("net", sort=False).mean(numeric_only=True).drop(columns="seed")
    return Outcome(table.reset_index(), effects)


def finite(values: Any) -> np.ndarray:
    """The finite ones."""
    array = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]
