"""The same net under many attacks, and points made on one net and tried on others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from art_flat import Results
from art_flat.reporting import plot_distributions

from .detection import paired
from .outcome import Effect, Measured, Outcome

KINDS = {
    "maximises the loss": ("below", 0.0),
    "maximises another function": ("below", 0.0),
    "stops at the boundary": ("above", 0.0),
    "noise": ("above", 0.0),
}
"""Kind of attack → the side and bound expected of the median change of log κ."""
RIDGE = 0.25
"""Half of the least G = 1 − Σp² on a decision boundary: a point above it lies on the ridge."""


def across(measured: Measured) -> Outcome:
    """Attacks that maximise the loss end flat, attacks that stop at the boundary end on the ridge."""
    rows, effects, figures = [], [], {}
    for (what, net), records in measured.tables["records"].groupby(["what", "net"], sort=False):
        kind, radius = what.split(", ")
        side, bound = KINDS[kind]
        for attack, part in records.groupby("attack", sort=False):
            seeds = [{"seed": seed, **_flatness(one)} for seed, one in part.groupby("seed")]
            table = pd.DataFrame(seeds)
            rows.append(
                {"kind": kind, "attack": attack, "radius": radius, **table.drop(columns="seed").mean()}
            )
            name = f"{attack}, {radius}"
            effects.append(
                Effect(f"{kind}: {name}: median Δ log κ", table["change"].tolist(), side, bound)  # type: ignore[arg-type]
            )
            if kind == "stops at the boundary":
                effects.append(
                    Effect(f"{kind}: {name}: share on the ridge", table["on_ridge"].tolist(), "above", 0.5)
                )
        folder = measured.folders[what, net, int(records["seed"].max())]
        figures[what] = plot_distributions(Results.load(folder / "run"))
    return Outcome(pd.DataFrame(rows), effects, figures)


def _flatness(records: pd.DataFrame) -> dict[str, float]:
    """Over the wrong points of clean-correct samples; over all of them where no point is wrong."""
    wrong = paired(records)
    right = records[(records["pred_clean"] == records["label"]) & (records["status"] != "failed")]
    seen = wrong if len(wrong) else right
    change = seen["log_kappa_adv"] - seen["log_kappa_clean"]
    return {
        "n": len(right),
        "n_wrong": len(wrong),
        "change": float(change.median()),
        "flatter": float((change < 0).mean()),
        "on_ridge": float((wrong["log_gini_adv"] > np.log(RIDGE)).mean()),
        "confidence": float(seen["confidence_adv"].median()),
        "loss": float(seen["loss_adv"].median()),
        "distance_l2": float(seen["l2"].median()),
        "seconds": float(records["seconds"].sum()),
    }


def transfer(measured: Measured) -> Outcome:
    """Points made on one net fool the others, and how flat they lie there."""
    records = measured.tables["records"]
    rows = []
    for (source, model, seed), part in records.groupby(["source_model", "model", "seed"], sort=False):
        right = part[part["pred_clean"] == part["label"]]
        wrong = paired(part)
        rows.append({
            "made on": source, "tried on": model, "seed": seed, "n": len(right),
            "success": len(wrong) / len(right),
            "log_kappa_change": float((wrong["log_kappa_adv"] - wrong["log_kappa_clean"]).median()),
            "loss": float(part["loss_adv"].mean()),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    other = table[table["made on"] != table["tried on"]]
    effects = [
        Effect("success on the other nets, mean", other.groupby("seed")["success"].mean().tolist(), "above", 0.5),
        Effect("median Δ log κ of the points that fool another net, mean",
               other.groupby("seed")["log_kappa_change"].mean().tolist(), "below"),
    ]  # fmt: skip
    shown = table.groupby(["made on", "tried on"], sort=False).mean(numeric_only=True).drop(columns="seed")
    return Outcome(shown.reset_index(), effects)
