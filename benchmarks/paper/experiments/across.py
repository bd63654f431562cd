"""The same points across attacks, and the same attack across architectures and data sets."""

from __future__ import annotations

from typing import Any

import pandas as pd

import art_flat as af
from art_flat.reporting import plot_distributions

from .outcome import Case, Effect, Outcome
from .valley import trace_figure, traces, valley_effects, valley_rows

NOISE = ("GaussianNoise", "UniformNoise")


def across(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """Adversarial points of attacks that optimise are flatter than the clean points, those of noise are not."""
    (case,) = cases.values()
    rows, figures = [], {}
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
                certify=None,
            )
            name = radius.replace("/", "-").replace(" ", "-")
            figures[name] = plot_distributions(results)  # of the last seed
            records = results.records()
            for attack, part in records.groupby("attack", sort=False):
                # a minimum-norm attack is read wherever its points lie
                rows.append({"attack": attack, "radius": radius, "seed": seed, **_flatness(part)})
    table = pd.DataFrame(rows)
    effects = []
    for (attack, radius), part in table.groupby(["attack", "radius"], sort=False):
        noise = any(name in str(attack) for name in NOISE)
        side = "above" if noise else "below"
        what = "wrong points" if part["n_wrong"].sum() else "all points (no point is wrong)"
        effects.append(
            Effect(f"{attack}, {radius}: median Δ log κ of {what}", part["change"].tolist(), side)  # type: ignore[arg-type]
        )
    shown = table.groupby(["attack", "radius"], sort=False).mean(numeric_only=True).drop(columns="seed")
    return Outcome(shown.reset_index(), effects, figures)


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
    rows, effects, figures, longer = [], [], {}, []
    for name, case in cases.items():
        delta = settings["mnist_delta"] if name.startswith("mnist") else settings["delta"]
        seen = traces(case, settings | {"delta": delta})
        found = valley_rows(case, seen)
        figures[name] = trace_figure(case, seen, quantities=["log_kappa"])
        rows += found
        effects += valley_effects(found, f"{name}: ")[:3]
        if name in settings.get("longer", {"nets": []})["nets"]:
            attack = settings["longer"]["attack"]
            longer += valley_rows(case, traces(case, settings | {"delta": delta, "attack": attack}))
    return Outcome(_means(rows), effects, figures, {"longer": _means(longer)} if longer else {})


def _means(rows: list[dict[str, float]]) -> pd.DataFrame:
    means = pd.DataFrame(rows).groupby("net", sort=False).mean(numeric_only=True)
    return means.drop(columns="seed").reset_index()
