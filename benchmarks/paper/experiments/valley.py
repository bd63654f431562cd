"""Over the ridge into the uncanny valley; the basin after adversarial training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import art_flat as af
from art_flat.reporting import plot_trajectories

from .outcome import Case, Effect, Outcome


def traces(case: Case, settings: dict[str, Any]) -> list[Any]:
    """What an attack passes through, per seed."""
    return [
        af.trace_attack(case.net, settings["attack"], x, y, delta=settings["delta"], norm=settings["norm"], seed=seed)
        for seed, x, y in case.blocks(settings)
    ]  # fmt: skip


def trace_figure(case: Case, seen: list[Any], **shown: Any) -> Any:
    """The library's figure of trajectories, of the samples of all seeds."""
    tables: list[list[pd.DataFrame]] = [[], []]
    before = 0
    for one in seen:
        for table, all_of_them in zip((one.frame(), one.valley()), tables, strict=True):
            what = {"attack": one.result.attack, "norm": one.result.norm, "delta": one.result.delta}
            all_of_them.append(table.assign(sample=table["sample"] + before, model=case.name, **what))
        before += len(one.valley())
    return plot_trajectories(*(pd.concat(parts) for parts in tables), **shown)


def valley_rows(case: Case, seen: list[Any]) -> list[dict[str, float]]:
    """One row per seed on what an attack passes through."""
    return [{"net": case.name, "seed": seed, **measures(one)} for seed, one in enumerate(seen)]


def measures(seen: Any) -> dict[str, float]:
    """What a trace says, over the clean-correct samples; medians, because κ is heavy-tailed."""
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
    seen = traces(case, settings)
    rows = valley_rows(case, seen)
    table = pd.DataFrame(rows)
    effects = [
        *valley_effects(rows),
        Effect("adversarial accuracy", table["robust_accuracy"].tolist(), "below", 0.05, "0.0001"),
        Effect(
            "mean adversarial loss − mean clean loss, nats",
            (table["loss_adversarial"] - table["loss"]).tolist(), "above", 0.0, "29.7",
        ),
    ]  # fmt: skip
    figures = {"steps": trace_figure(case, seen), "from-flip": trace_figure(case, seen, from_flip=True)}
    return Outcome(table, effects, figures)


def basin(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """Adversarial training widens the basin: more steps to the flip, another height on the way."""
    seen = {name: traces(case, settings) for name, case in cases.items()}
    table = pd.DataFrame(row for name, case in cases.items() for row in basin_rows(case, seen[name]))
    figures = {
        n: trace_figure(case, seen[n], quantities=["log_kappa", "confidence"]) for n, case in cases.items()
    }
    effects = [
        Effect(
            "median steps to the flip, ratio (50 where none)", ratio_of_steps(table), "above", 1.0, "about 20"
        ),
        Effect("robust accuracy, difference", _hardened_and_standard(table, "robust_accuracy", np.subtract)),
    ]
    more = {}
    if "further" in settings:
        further = settings | settings["further"]
        more["further"] = pd.DataFrame(
            row for case in cases.values() for row in basin_rows(case, traces(case, further))
        )
        what = f"median steps to the flip, ratio, δ up to {further['delta']:g}"
        effects.append(Effect(what, ratio_of_steps(more["further"]), "above", 10.0, "about 20"))
    return Outcome(table, effects, figures, more)


def basin_rows(case: Case, seen: list[Any]) -> list[dict[str, Any]]:
    """One row per seed: steps to the first wrong prediction, and Tr H at the clean point and at its peak."""
    squared = float(case.net.head.weight.double().norm()) ** 2
    rows = []
    for seed, one in enumerate(seen):
        valley, total = one.valley(), int(one.frame()["step"].max())
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
    return rows


def ratio_of_steps(table: pd.DataFrame) -> list[float]:
    """Median steps to the flip of the hardened net over those of the standard one, per seed."""
    return _hardened_and_standard(table, "flip_step_q50", np.divide)


def _hardened_and_standard(table: pd.DataFrame, column: str, compare: Any) -> list[float]:
    standard, hardened = (
        table[table["net"] == net].set_index("seed")[column] for net in table["net"].unique()
    )
    return compare(hardened, standard).tolist()  # type: ignore[no-any-return]
