"""Over the ridge into the uncanny valley; the basin after adversarial training; detection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import art_flat as af
from art_flat.detection import detection_table

from .outcome import Case, Effect, Outcome


def trace(case: Case, settings: dict[str, Any]) -> tuple[list[dict[str, float]], Any]:
    """One row per seed on what an attack passes through, and the last trace."""
    rows, seen = [], None
    for seed, x, y in case.blocks(settings):
        seen = af.trace_attack(
            case.net, settings["attack"], x, y, delta=settings["delta"], norm=settings["norm"], seed=seed
        )
        rows.append({"net": case.name, "seed": seed, **measures(seen)})
    return rows, seen


def measures(seen: Any) -> dict[str, float]:
    """What a trace says, over the samples right when clean; medians, because κ is heavy-tailed."""
    valley, steps = seen.valley(), seen.frame()
    first, last = (getattr(steps.groupby("sample")["loss"], end)() for end in ("first", "last"))
    hit = valley[valley["right_clean"] & valley["success"]]
    beside = (hit["peak_step"] - hit["flip_step"].astype(float)).abs()
    return {
        "accuracy": float(valley["right_clean"].mean()),
        "loss": float(first.mean()),
        "robust_accuracy": float((valley["right_clean"] & ~valley["success"]).mean()),
        "loss_adversarial": float(last.mean()),
        "log_kappa_clean": float(hit["log_kappa_clean"].median()),
        "log_kappa_peak": float(hit["log_kappa_peak"].median()),
        "log_kappa_end": float(hit["log_kappa_end"].median()),
        "rise": float((hit["log_kappa_peak"] - hit["log_kappa_clean"]).median()),
        "fall": float((hit["log_kappa_end"] - hit["log_kappa_peak"]).median()),
        "end_minus_clean": float((hit["log_kappa_end"] - hit["log_kappa_clean"]).median()),
        "flatter": float((hit["log_kappa_end"] < hit["log_kappa_clean"]).mean()),
        "confidently_wrong": float((hit["confidence_wrong"] >= 0.9).mean()),
        "peak_within_one_step_of_flip": float((beside <= 1).mean()),
        "ridge_over_bound_q10": float(valley["ridge_over_bound"].quantile(0.1)),
    }


def valley_effects(rows: list[dict[str, float]], prefix: str = "") -> list[Effect]:
    """The pattern: κ rises, peaks at the flip, falls, and ends below the clean point."""

    def of(key: str) -> list[float]:
        return [row[key] for row in rows]

    return [
        Effect(f"{prefix}median log κ peak − clean", of("rise")),
        Effect(f"{prefix}median log κ end − peak", of("fall"), "below"),
        Effect(f"{prefix}median log κ end − clean", of("end_minus_clean"), "below"),
        Effect(f"{prefix}share confidently wrong (p ≥ 0.9)", of("confidently_wrong"), "above", 0.5),
        Effect(f"{prefix}share with the peak at the flip ± 1 step", of("peak_within_one_step_of_flip"), "above", 0.5),
    ]  # fmt: skip


def valley(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """Adversarial points are flat and confidently wrong."""
    (case,) = cases.values()
    rows, seen = trace(case, settings)
    table = pd.DataFrame(rows)
    effects = [
        *valley_effects(rows),
        Effect("adversarial accuracy", table["robust_accuracy"].tolist(), "below", 0.05, "0.0001"),
        Effect(
            "mean adversarial loss − mean clean loss, nats",
            (table["loss_adversarial"] - table["loss"]).tolist(), "above", 0.0, "29.7",
        ),
    ]  # fmt: skip
    return Outcome(table, effects, seen.plot())


def basin(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """Adversarial training widens the basin: more steps to the flip, another height on the way."""
    rows, figure = [], None
    for case in cases.values():
        squared = float(case.net.head.weight.double().norm()) ** 2
        for seed, x, y in case.blocks(settings):
            seen = af.trace_attack(
                case.net, settings["attack"], x, y, delta=settings["delta"], norm=settings["norm"], seed=seed
            )
            valley, total = seen.valley(), int(seen.frame()["step"].max())
            right = valley[valley["right_clean"]]
            flip = right["flip_step"].astype(float).fillna(np.inf)
            trace_peak = np.exp(right["log_kappa_peak"]) / squared
            rows.append({
                "net": case.name, "seed": seed, "accuracy": float(valley["right_clean"].mean()),
                "robust_accuracy": float((valley["right_clean"] & ~valley["success"]).mean()),
                "flip_step_q50": float(min(np.median(flip), total)), "not_flipped": float(np.isinf(flip).mean()),
                "trace_clean_q50": float(np.median(np.exp(right["log_kappa_clean"]) / squared)),
                "trace_peak_q50": float(np.median(trace_peak)), "trace_peak_mean": float(trace_peak.mean()),
            })  # fmt: skip
        figure = seen.plot()
    table = pd.DataFrame(rows)
    standard, hardened = (table[table["net"] == name].set_index("seed") for name in cases)
    effects = [
        Effect(
            "median steps to the flip, ratio (50 where none)",
            (hardened["flip_step_q50"] / standard["flip_step_q50"]).tolist(), "above", 1.0, "about 20",
        ),
        Effect(
            "robust accuracy, difference",
            (hardened["robust_accuracy"] - standard["robust_accuracy"]).tolist(), "above", 0.0,
        ),
    ]  # fmt: skip
    return Outcome(table, effects, figure)


def detection(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """A decision stump on log κ tells adversarial points from clean ones."""
    (case,) = cases.values()
    table = pd.concat(
        detection_table(
            case.net, x, y, settings["attack"], settings["deltas"], norm=settings["norm"], seed=seed
        ).assign(seed=seed)
        for seed, x, y in case.blocks(settings)
    )
    columns = ["n", "log_kappa_change", "stump", "two_thresholds", "logistic_regression"]
    shown = table.groupby("delta")[columns].mean().reset_index()
    best = shown.loc[shown["stump"].idxmax(), "delta"]
    at = table[table["delta"] == best]["stump"].tolist()
    papers = table[np.isclose(table["delta"], 8 / 255)]["stump"].tolist()
    effects = [
        Effect(f"stump at the best radius, {best:.4f}", at, "above", 0.9, "0.92–0.93"),
        Effect("stump at 8/255", papers, "above", 0.9, "0.92–0.93"),
    ]
    return Outcome(shown, effects)
