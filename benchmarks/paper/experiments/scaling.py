"""Scaling the head: a weak attack changes the loss less and less, and gradients of first-order attacks underflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import art_flat as af
from art_flat.reporting import plot_scale_sweep

from .outcome import Case, Effect, Outcome


def _sweeps(case: Case, settings: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    tables, samples = [], []
    for seed, x, y in case.blocks(settings):
        sweep = af.scale_sweep(
            case.net, settings["attack"], x, y, delta=settings["delta"], norm=settings["norm"],
            scales=settings["scales"], seed=seed,
        )  # fmt: skip
        tables.append(sweep.frame().assign(seed=seed))
        samples.append(sweep.samples.assign(seed=seed))
    return pd.concat(tables), pd.concat(samples)


def sweep_figure(case: Case, table: pd.DataFrame) -> Any:
    """The library's figure of a sweep, of means over seeds."""
    means = table.groupby(["attack", "norm", "delta", "scale"]).mean(numeric_only=True).reset_index()
    return plot_scale_sweep(means.assign(model=case.name))


def weak_l2(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """A weak L2 attack: the larger the head, the smaller the increase of the loss."""
    (case,) = cases.values()
    table, samples = _sweeps(case, settings)
    right = samples[samples["right_clean"]]
    increase = right.groupby(["seed", "scale"])["loss_increase"].agg(["mean", "median"]).reset_index()
    # The flattest points are those the network is surest of; the others carry the mean
    robust = right[right["success"] == False]  # noqa: E712
    kept = robust.groupby(["seed", "scale"])["loss_increase"].mean().rename("mean_unflipped").reset_index()
    increase = increase.merge(kept, on=["seed", "scale"])
    accuracy = table.groupby("scale")[["accuracy", "robust_accuracy", "zero_gradients"]].mean()
    shown = (
        increase.groupby("scale")[["mean", "median", "mean_unflipped"]].mean().add_prefix("loss_increase_")
    )
    low, high = min(settings["scales"]), max(settings["scales"])
    by_seed = [part.set_index("scale") for _, part in increase.groupby("seed")]
    ordered = [float(spearmanr(p.index[p.index >= 1], p["median"][p.index >= 1])[0]) for p in by_seed]
    effects = [
        Effect("rank correlation of s ≥ 1 with the median loss increase", ordered, "below"),
        Effect(
            f"median loss increase at s = {high:g} minus at s = {low:g}, nats",
            [p["median"][high] - p["median"][low] for p in by_seed], "below", published="→ 0",
        ),
        Effect(
            f"mean loss increase at s = {high:g} minus at s = {low:g}, nats",
            [p["mean"][high] - p["mean"][low] for p in by_seed], "below", published="→ 0",
        ),
    ]  # fmt: skip
    return Outcome(accuracy.join(shown).reset_index(), effects, {"scales": sweep_figure(case, table)})


def masking(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """First-order attacks fail on a large head, the points found at s = 1 do not."""
    (case,) = cases.values()
    table, _ = _sweeps(case, settings)
    columns = ["robust_accuracy", "transfer_success", "zero_gradients", "zero_gradients_float64",
               "log_kappa_clean_q50"]  # fmt: skip
    shown = table.groupby("scale")[["accuracy", *columns]].mean().reset_index()
    high = max(settings["scales"])
    at = {s: part.set_index("seed") for s, part in table.groupby("scale")}
    share = at[high]["robust_accuracy"] / at[high]["accuracy"]
    effects = [
        Effect("robust accuracy at s = 1", at[1.0]["robust_accuracy"].tolist(), "below", 0.05, "0.00"),
        Effect(f"robust accuracy at s = {high:g}", at[high]["robust_accuracy"].tolist(), "above", 0.5, "0.93"),
        Effect(f"share of accuracy kept at s = {high:g}", share.tolist(), "above", 0.9, "0.99"),
        Effect(
            f"success of the points of s = 1 at s = {high:g}", at[high]["transfer_success"].tolist(),
            "above", 0.95, "1.00",
        ),
    ]  # fmt: skip
    return Outcome(shown, effects, {"scales": sweep_figure(case, table)})


def share_of_underflow(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Of the clean points, the share whose gradient is 0 in float32 but not in float64, and in both."""
    both = table["zero_gradients_float64"].to_numpy()
    return {"underflow": table["zero_gradients"].to_numpy() - both, "both": both}
