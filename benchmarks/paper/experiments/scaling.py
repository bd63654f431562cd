"""Scaling the head: a weak attack changes the loss less and less, and gradients of first-order attacks underflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from art_flat.reporting import plot_scale_sweep

from .outcome import Effect, Measured, Outcome


def weak_l2(measured: Measured) -> Outcome:
    """A weak L2 attack: the larger the head, the smaller the increase of the loss."""
    shown, effects, figures = [], [], {}
    scaled = dict(measured.groups("scales"))
    for title, samples in measured.groups("samples"):
        increase = _increase(samples)
        by_seed = [part.set_index("scale") for _, part in increase.groupby("seed")]
        low, high = float(samples["scale"].min()), float(samples["scale"].max())
        ordered = [float(spearmanr(p.index[p.index >= 1], p["median"][p.index >= 1])[0]) for p in by_seed]
        effects.append(
            Effect(f"{title}: rank correlation of s ≥ 1 with the median loss increase", ordered, "below")
        )
        effects += [
            Effect(
                f"{title}: {kind} loss increase at s = {high:g} minus at s = {low:g}, nats",
                [p[kind][high] - p[kind][low] for p in by_seed], "below", published="→ 0",
            )
            for kind in ("median", "mean_unflipped", "mean")
        ]  # fmt: skip
        columns = ["accuracy", "robust_accuracy", "zero_gradients"]
        table = scaled[title].groupby("scale")[columns].mean()
        means = increase.groupby("scale").mean().drop(columns="seed").add_prefix("loss_increase_")
        shown.append(table.join(means).reset_index().assign(net=title))
        figures[title] = _figure(title, scaled[title])
    return Outcome(_net_first(shown), effects, figures)


def _increase(samples: pd.DataFrame) -> pd.DataFrame:
    """Per seed and scale, over samples that are right when clean: mean, median, and mean where none flipped."""
    right = samples[samples["right_clean"]]
    increase = right.groupby(["seed", "scale"])["loss_increase"].agg(["mean", "median"])
    # The flattest points are those the network is surest of; the others carry the mean
    kept = right[right["success"] == False]  # noqa: E712
    unflipped = kept.groupby(["seed", "scale"])["loss_increase"].mean().rename("mean_unflipped")
    return increase.join(unflipped).reset_index()


def masking(measured: Measured) -> Outcome:
    """First-order attacks fail on a large head, the points found at s = 1 do not."""
    shown, effects, figures = [], [], {}
    columns = ["accuracy", "robust_accuracy", "transfer_success", "zero_gradients", "zero_gradients_float64",
               "log_kappa_clean_q50", "kappa_mean"]  # fmt: skip
    for title, table in measured.groups("scales"):
        at = {s: part.set_index("seed") for s, part in table.groupby("scale")}
        high = at[max(at)]
        underflow = share_of_underflow(high)["underflow"]
        effects += [
            Effect(f"{title}: robust accuracy at s = 1", at[1.0]["robust_accuracy"].tolist(), "below", 0.05,
                   "0.00"),
            Effect(f"{title}: robust accuracy at s = {max(at):g} over accuracy",
                   (high["robust_accuracy"] / high["accuracy"]).tolist(), "above", 0.88, "0.99"),
            Effect(f"{title}: success of the points of s = 1 at s = {max(at):g}",
                   high["transfer_success"].tolist(), "above", 0.99, "1.00"),
            Effect(f"{title}: gradients that are 0 in float32 but not in float64, at s = {max(at):g}",
                   underflow.tolist()),
        ]  # fmt: skip
        shown.append(table.groupby("scale")[columns].mean().reset_index().assign(net=title))
        figures[title] = _figure(title, table)
    return Outcome(_net_first(shown), effects, figures)


def share_of_underflow(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Of the clean points, the share whose gradient is 0 in float32 but not in float64, and in both."""
    both = table["zero_gradients_float64"].to_numpy()
    return {"underflow": table["zero_gradients"].to_numpy() - both, "both": both}


def _figure(title: str, table: pd.DataFrame) -> Any:
    """The library's figure of a sweep, of means over seeds."""
    means = table.groupby(["attack", "norm", "delta", "scale"]).mean(numeric_only=True).reset_index()
    return plot_scale_sweep(means.assign(model=title))


def _net_first(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table.set_index("net").reset_index() for table in tables])
