"""Figures of the analyses: trajectories, head scaling, radial profiles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import pandas as pd

from ..._utils.formatting import ball_text
from ...errors import InputError
from ...summaries.step_quantiles import step_quantiles
from .._look import BLUE, CYCLE, LOG10, RED, SHARE, legend_below, new_figure, wrapped
from ._choose import select_one_group

QUANTITIES = {
    "log_kappa": "κ (nats)",
    "loss": "loss ℓ (nats)",
    "confidence": "confidence max p",
    "kappa": "κ (nats)",
    "distance": "distance to the clean point (clip units)",
}
"""Columns that can be drawn along a trajectory, with their axis labels."""

ALONG_RAYS = {
    "loss": "loss ℓ (nats)",
    "log_kappa": "κ (nats)",
    "kappa": "κ (nats)",
    "confidence": "confidence max p",
    "curvature": "curvature\n(nats per squared clip unit)",
}
"""Columns that can be drawn along a ray, with their axis labels."""

RAYS = {
    "adversarial": "adversarial (increasing loss)",
    "random": "random (off the data)",
    "class": "towards another class",
    "manifold": "along the data",
}
"""Legend labels of the values of the column `direction`."""


def plot_trajectories(
    steps: pd.DataFrame,
    samples: pd.DataFrame,
    *,
    model: str | None = None,
    attack: str | None = None,
    norm: str | None = None,
    delta: float | None = None,
    quantities: Sequence[str] = ("log_kappa", "loss", "confidence"),
    quantiles: tuple[float, float] = (0.1, 0.9),
    from_flip: bool = False,
) -> Any:
    """Median and band of quantiles of κ, loss and confidence along attack trajectories; the flip is marked.

    Args:
        steps: `trajectories.parquet` of a run with analyses, or `Trajectories.frame()`.
        samples: `valley.parquet`, or `Trajectories.valley()`.
        model: Name of the model; the first of the tables if None, as for the next three.
        attack: Name of the attack.
        norm: Norm.
        delta: Radius in clip units.
        quantities: Columns of `steps`.
        quantiles: Lower and upper end of the band.
        from_flip: Count steps from each sample's flip instead of from its start.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If there is no such column, or no such trajectory.

    >>> from art_flat.analysis import trace_attack
    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> paths = trace_attack(net, "art_flat:PGD(steps=2)", x, y, delta=0.05)
    >>> figure = plot_trajectories(paths.frame(), paths.valley(), quantities=["loss"])
    >>> figure.axes[0].get_ylabel()
    'loss ℓ (nats)'
    """
    for quantity in quantities:
        if quantity not in QUANTITIES:
            raise InputError(f"cannot plot {quantity!r}; choose one of {', '.join(QUANTITIES)}")
    keys = {"model": model, "attack": attack, "norm": norm, "delta": delta}
    samples = select_one_group(samples, "trajectories", **keys)
    steps = select_one_group(steps, "trajectories", **keys)
    figure, axes = new_figure(
        4.8, 1.0 + 1.7 * len(quantities), nrows=len(quantities), sharex=True, squeeze=False
    )
    flips = samples.loc[samples["right_clean"].astype(bool), "flip_step"].dropna().astype(float)
    for one, quantity in zip(axes[:, 0], quantities, strict=True):
        table = step_quantiles(
            steps, samples, quantity, (quantiles[0], 0.5, quantiles[1]), from_flip=from_flip
        )
        low, high = f"q{100 * quantiles[0]:g}", f"q{100 * quantiles[1]:g}"
        if quantity == "log_kappa":
            table[[low, "q50", high]] /= LOG10
            _logarithmic(one)
        one.fill_between(
            table["step"], table[low], table[high], color=BLUE, alpha=0.25, lw=0,
            label=f"{quantiles[0]:.0%} to {quantiles[1]:.0%} of samples",
        )  # fmt: skip
        one.plot(table["step"], table["q50"], color=BLUE, label="median")
        if len(flips):
            one.axvline(0 if from_flip else flips.median(), color=RED, ls="--", lw=1.2, label="flip")
        one.set_ylabel(QUANTITIES[quantity])
    axes[-1, 0].set_xlabel("steps from the flip" if from_flip else "step (forward passes of the sample)")
    legend_below(figure, axes[:1, 0], 3)
    figure.suptitle(wrapped(figure, _title(samples)))
    return figure


def plot_scale_sweep(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    attack: str | None = None,
    norm: str | None = None,
    delta: float | None = None,
) -> Any:
    """Robust accuracy, transfer and zero gradients, quantiles of κ and of the loss increase, against the head's scale.

    Robust accuracy that rises while the points found at scale 1 still fool the model is masking, not robustness.

    Args:
        table: `scale_sweep.csv` of a run with analyses, or `ScaleSweep.frame()`.
        model: Name of the model; the first of the table if None, as for the next three.
        attack: Name of the attack.
        norm: Norm.
        delta: Radius in clip units.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If there is no such sweep.

    >>> from art_flat.analysis import scale_sweep
    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> sweep = scale_sweep(net, "art_flat:PGD(steps=2)", x, y, delta=0.3, scales=[1, 10])
    >>> [axes.get_ylabel() for axes in plot_scale_sweep(sweep.frame()).axes][1:]
    ['κ (nats)', 'loss increase (nats)']
    """
    part = select_one_group(
        table, "scale sweep", model=model, attack=attack, norm=norm, delta=delta
    ).sort_values("scale")
    figure, (left, middle, right) = new_figure(10.0, 4.4, ncols=3)
    for (column, label), colour, marker in zip(SWEEP_SHARES.items(), CYCLE, "os^Dv", strict=False):
        left.plot(part["scale"], part[column], marker=marker, color=colour, label=label)
    left.set(ylabel=SHARE, ylim=(-0.02, 1.02))
    for axes, unit, curves in (
        (middle, LOG10, {"log_kappa_clean": "κ clean", "log_kappa_adv": "κ adversarial"}),
        (right, 1.0, {"loss_increase_transfer": "points found at s = 1", "loss_increase": "attacked at s"}),
    ):
        for (column, label), colour in zip(curves.items(), (BLUE, RED), strict=True):
            low, median, high = (part[f"{column}_q{q}"] / unit for q in (10, 50, 90))
            axes.fill_between(part["scale"], low, high, color=colour, alpha=0.2, lw=0)
            axes.plot(part["scale"], median, marker="o", color=colour, label=f"{label}, 10 to 90 %")
    middle.set_ylabel("κ (nats)")
    _logarithmic(middle)
    right.set_ylabel("loss increase (nats)")
    right.set_yscale("symlog", linthresh=0.01)
    for axes in (left, middle, right):
        axes.set(xscale="log", xlabel="scale s of the head")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize="small")
    figure.suptitle(wrapped(figure, _title(part)))
    return figure


SWEEP_SHARES = {
    "robust_accuracy": "robust accuracy, attacked at s",
    "transfer_success": "fooled by points found at s = 1",
    "zero_gradients": "zero input gradients",
    "zero_gradients_float64": "zero input gradients, float64",
    "accuracy": "accuracy",
}
"""Columns of a scale sweep that are shares, with their labels."""


def plot_radial_profile(rays: pd.DataFrame, *, model: str | None = None, quantity: str = "loss") -> Any:
    """Median of loss, κ, confidence or curvature against the distance, one line per direction.

    Args:
        rays: `radial_profile.parquet` of a run with analyses, or `RadialProfile.frame()`.
        model: Name of the model; the first of the table if None.
        quantity: `"loss"`, `"log_kappa"`, `"kappa"`, `"confidence"` or `"curvature"`.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If there is no such column or model.

    >>> from art_flat.analysis import radial_profile
    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> profile = radial_profile(net, x, y, radii=[0.1, 0.2])
    >>> plot_radial_profile(profile.frame()).axes[0].get_ylabel()
    'median loss ℓ (nats)'
    """
    if quantity not in ALONG_RAYS:
        raise InputError(f"cannot plot {quantity!r}; choose one of {', '.join(ALONG_RAYS)}")
    rays = select_one_group(rays, "radial profile", model=model)
    figure, axes = new_figure(4.6, 3.8)
    groups = rays.groupby("direction", sort=False)
    for (direction, part), colour, style in zip(groups, CYCLE, cycle(("-", "--", ":", "-.")), strict=False):
        line = part.groupby("radius")[quantity].median()
        if quantity == "log_kappa":
            line /= LOG10
        axes.plot(line.index, line, color=colour, ls=style, label=RAYS.get(str(direction), direction))
    if quantity == "log_kappa":
        _logarithmic(axes)
    axes.set(xlabel="distance from the sample (L2, clip units)", ylabel=f"median {ALONG_RAYS[quantity]}")
    axes.set_title(wrapped(figure, _title(rays)))
    legend_below(figure, [axes], 2)
    return figure


def _logarithmic(axes: Any) -> None:
    from .sharpness import label_powers

    label_powers(axes.yaxis)


def _title(part: pd.DataFrame) -> str:
    row = part.iloc[0]
    parts = [str(row[c]) for c in ("model", "attack") if c in part]
    if "norm" in part and "delta" in part and pd.notna(row["delta"]):
        parts.append(ball_text(str(row["norm"]), float(row["delta"])))
    return ", ".join(parts)
