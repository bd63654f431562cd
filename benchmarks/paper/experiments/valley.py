"""Over the ridge into the uncanny valley; the basin after adversarial training; what training length does to both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from art_flat.reporting import plot_trajectories

from .outcome import Effect, Measured, Outcome, per_seed


def valley(measured: Measured) -> Outcome:
    """Adversarial points are flat and confidently wrong."""
    effects: list[Effect] = []
    for title, samples in measured.groups("valley"):
        effects += valley_effects(samples, f"{title}: ")
        effects += [
            Effect(f"{title}: adversarial accuracy", per_seed(samples, robust_accuracy), "below", 0.05, "0.0001"),
            Effect(f"{title}: mean adversarial loss, nats", per_seed(samples, lambda s: s["loss_end"].mean()),
                   "above", 15.0, "29.96"),
        ]  # fmt: skip
    first = next(iter(measured.groups("valley")))[0]
    figures = {
        "steps": trace_figure(measured, first),
        "from-flip": trace_figure(measured, first, from_flip=True),
    }
    return Outcome(_table(measured), effects, figures)


def architectures(measured: Measured) -> Outcome:
    """The same pattern on every net."""
    effects = []
    for title, samples in measured.groups("valley"):
        effects += valley_effects(samples, f"{title}: ")[:3]
    titles = [title for title, _ in measured.groups("valley")]
    figures = {title: trace_figure(measured, title, quantities=["log_kappa"]) for title in titles[:4]}
    return Outcome(_table(measured), effects, figures)


def valley_effects(samples: pd.DataFrame, prefix: str = "") -> list[Effect]:
    """The pattern: κ rises, peaks at the flip, falls, and ends below the clean point, in the valley."""
    found = pd.DataFrame([measures(part) for _, part in samples.groupby("seed")])

    def effect(what: str, column: str, *bound: Any, **how: Any) -> Effect:
        return Effect(f"{prefix}{what}", found[column].tolist(), *bound, **how)

    return [
        effect("median log κ peak − clean", "rise"),
        effect("median log κ end − peak", "fall", "below"),
        effect("median log κ end − clean", "end_minus_clean", "below"),
        effect("share in the valley at the end", "in_valley", "above", 0.9),
        effect("share confidently wrong (p ≥ 0.9)", "confidently_wrong", "above", 0.5),
        effect("share with the peak at the flip ± 1 step", "peak_within_one_step_of_flip", "above", 0.5),
        effect(
            "least height of a ridge over its bound", "ridge_over_bound_min", "above", 1 - 1e-4, always=True
        ),
    ]


def measures(samples: pd.DataFrame) -> dict[str, float]:
    """What the traces of one seed say, over the samples attacked successfully; medians, as κ is heavy-tailed."""
    hit = samples[samples["right_clean"] & samples["success"]]
    beside = (hit["peak_step"] - hit["flip_step"].astype(float)).abs()
    return {
        "accuracy": float(samples["right_clean"].mean()),
        "loss": float(samples["loss_clean"].mean()),
        "robust_accuracy": robust_accuracy(samples),
        "loss_adversarial": float(samples["loss_end"].mean()),
        "log_kappa_clean": float(hit["log_kappa_clean"].median()),
        "log_kappa_peak": float(hit["log_kappa_peak"].median()),
        "log_kappa_end": float(hit["log_kappa_end"].median()),
        "rise": float((hit["log_kappa_peak"] - hit["log_kappa_clean"]).median()),
        "fall": float((hit["log_kappa_end"] - hit["log_kappa_peak"]).median()),
        "end_minus_clean": float((hit["log_kappa_end"] - hit["log_kappa_clean"]).median()),
        "in_valley": float(hit["uncanny"].mean()),
        "flatter": float((hit["log_kappa_end"] < hit["log_kappa_clean"]).mean()),
        "confidently_wrong": float((hit["confidence_wrong"] >= 0.9).mean()),
        "peak_within_one_step_of_flip": float((beside <= 1).mean()),
        "ridge_over_bound_min": float(hit["ridge_over_bound"].min()),
        "ridge_over_bound_q50": float(hit["ridge_over_bound"].median()),
    }


def robust_accuracy(samples: pd.DataFrame) -> float:
    """Of all samples, those right when clean and when attacked."""
    return float((samples["right_clean"] & ~samples["success"]).mean())


def _table(measured: Measured) -> pd.DataFrame:
    """Means over seeds, a row per net."""
    rows = []
    for title, samples in measured.groups("valley"):
        means = pd.DataFrame([measures(part) for _, part in samples.groupby("seed")]).mean()
        rows.append({"net": title, "n": len(samples), **means})
    return pd.DataFrame(rows)


def trace_figure(measured: Measured, title: str, **shown: Any) -> Any:
    """The library's figure of trajectories, of the samples of all seeds."""
    tables = []
    for name in ("steps", "valley"):
        table = dict(measured.groups(name))[title]
        tables.append(table.assign(model=title, sample=table["sample"] + 100_000 * table["seed"]))
    return plot_trajectories(*tables, **shown)


def basin(measured: Measured) -> Outcome:
    """Adversarial training widens the basin: more steps to the flip, another height on the way.

    The nets of a variant are a pair: the first trained for accuracy, the second against an adversary.
    """
    rows, effects, figures = [], [], {}
    for what, samples in measured.tables["valley"].groupby("what", sort=False):
        last = measured.tables["steps"].query("what == @what")["step"].max()
        table = pd.DataFrame(
            {"what": what, "net": net, "seed": seed, **_basin_row(part, int(last))}
            for (net, seed), part in samples.groupby(["net", "seed"], sort=False)
        )
        plain, hardened = (part.set_index("seed") for _, part in table.groupby("net", sort=False))
        ratio = hardened["flip_step_q50"] / plain["flip_step_q50"]
        effects += [
            Effect(f"{what}: median steps to the flip, ratio (the last step where none)", ratio.tolist(), "above",
                   1.0, "about 20"),
            Effect(f"{what}: robust accuracy, difference",
                   (hardened["robust_accuracy"] - plain["robust_accuracy"]).tolist()),
        ]  # fmt: skip
        rows.append(table.groupby(["what", "net"], sort=False).mean(numeric_only=True).drop(columns="seed"))
    for title in [title for title, _ in measured.groups("valley")][:2]:
        figures[title] = trace_figure(measured, title, quantities=["log_kappa", "confidence"])
    return Outcome(pd.concat(rows).reset_index(), effects, figures)


def _basin_row(samples: pd.DataFrame, last: int) -> dict[str, Any]:
    """Steps to the first wrong prediction, and Tr H at the clean point and at its peak."""
    right = samples[samples["right_clean"]]
    squared = right["weight_norm"] ** 2
    flip = right["flip_step"].astype(float).fillna(np.inf)
    trace_clean, trace_peak = (np.exp(right[f"log_kappa_{at}"]) / squared for at in ("clean", "peak"))
    return {
        "accuracy": float(samples["right_clean"].mean()), "robust_accuracy": robust_accuracy(samples),
        "flip_step_q50": float(min(np.median(flip), last)), "not_flipped": float(np.isinf(flip).mean()),
        "trace_clean_q50": float(trace_clean.median()), "trace_peak_q50": float(trace_peak.median()),
        "trace_peak_mean": float(trace_peak.mean()),
    }  # fmt: skip


def training_length(measured: Measured) -> Outcome:
    """Confidence makes the valley: the longer a net is trained, the flatter the end of an attack."""
    from matplotlib.figure import Figure

    rows = []
    for title, samples in measured.groups("valley"):
        epochs = int(title.split(", ")[1].split()[0])
        rows += [{"epochs": epochs, "seed": s, **measures(part)} for s, part in samples.groupby("seed")]
    table = pd.DataFrame(rows)
    columns = ["log_kappa_clean", "log_kappa_peak", "log_kappa_end"]
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for column in columns:
        by = table.groupby("epochs")[column]
        axes.plot(by.mean().index, by.mean(), marker="o", label=column.removeprefix("log_kappa_"))
        axes.fill_between(by.mean().index, by.min(), by.max(), alpha=0.2)
    axes.set(xscale="log", xlabel="epochs of training", ylabel="median log κ (nats)")
    axes.set_xticks(sorted(table["epochs"].unique()), [str(e) for e in sorted(table["epochs"].unique())])
    axes.legend(title="at")
    by_seed = {e: part.set_index("seed")["log_kappa_end"] for e, part in table.groupby("epochs")}
    difference = by_seed[max(by_seed)] - by_seed[min(by_seed)]
    what = f"median log κ at the end, {max(by_seed)} epochs minus {min(by_seed)}"
    shown = table.groupby("epochs").mean(numeric_only=True).drop(columns="seed").reset_index()
    return Outcome(shown, [Effect(what, difference.tolist(), "below")], {"length": figure})
