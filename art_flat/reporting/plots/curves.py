"""Figures of robustness over δ and ε: the surface, a slice of it, the security curve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd

from ..._utils.formatting import norm_sign, radius_text
from ..._utils.numbers import check_epsilon
from ..._utils.validation import check_keywords
from ...records import ALL_ATTACKS, Records
from ...summaries import summarise, surface
from .._look import (
    BLUE,
    CYCLE,
    EPSILON,
    GREY,
    RED,
    SHARE,
    delta_label,
    legend_below,
    new_figure,
)
from .._steps import ATTACKED_STEPS, CERTIFIED_STEPS, known_points, open_area
from ..text import origin
from ._choose import choose_model, choose_norm

ENDS = {"empirical": "not broken by any attack", "certified": "certified"}
"""The two ends of the bracket, by the column of `Results.surface`."""


@check_keywords
def plot_surface(
    results: Records,
    *,
    model: str | None = None,
    norm: Any = None,
    epsilons: Sequence[float] | None = None,
) -> Any:
    """The (δ, ε)-robust share as two heat maps: the certified share, and the share not broken by any attack.

    The true share of every cell lies between the two.

    Args:
        results: The run.
        model: Name of the model; optional if there is only one.
        norm: Norm; the first of the run if None.
        epsilons: Tolerated loss changes in nats; see `Results.surface`.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the run has no such model or norm.

    >>> from art_flat.testing import example_results
    >>> figure = plot_surface(example_results())
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['certified', 'not broken by any attack']
    """
    model, norm = choose_model(results, model), choose_norm(results, norm)
    table = surface(results, epsilons)
    table = table[(table["model"] == model) & (table["norm"] == norm)]
    figure, axes = new_figure(7.0, 3.4, ncols=2, sharey=True)
    for one, (column, title) in zip(axes, reversed(ENDS.items()), strict=True):
        grid = table.pivot(index="epsilon", columns="delta", values=column)
        one.grid(visible=False)
        one.set_facecolor("0.9")
        image = one.pcolormesh(
            np.arange(grid.shape[1] + 1) - 0.5, _edges(grid.index.to_numpy(float)), grid.to_numpy(float),
            cmap="cividis", vmin=0, vmax=1, rasterized=True,
        )  # fmt: skip
        if grid.isna().to_numpy().all():
            one.text(0.5, 0.5, "nothing certified", ha="center", va="center", transform=one.transAxes)
        one.set_xticks(range(grid.shape[1]), [radius_text(d) for d in grid.columns])
        one.set(title=title, xlabel=delta_label(norm), yscale="log")
    axes[0].set_ylabel(EPSILON)
    figure.colorbar(image, ax=axes, label=SHARE)
    figure.suptitle(f"{model}: (δ, ε)-robust share")
    return figure


def _edges(values: np.ndarray) -> np.ndarray:
    """Borders of the cells around values on a logarithmic axis; a first value of 0 gets a cell below the second."""
    positive = np.maximum(values, values[values > 0].min() / 2 if (values > 0).any() else 1.0)
    logs = np.log(positive)
    inner = (logs[1:] + logs[:-1]) / 2 if logs.size > 1 else np.array([])
    half = (logs[1] - logs[0]) / 2 if logs.size > 1 else 0.5
    last = (logs[-1] - logs[-2]) / 2 if logs.size > 1 else 0.5
    return np.asarray(np.exp(np.concatenate([[logs[0] - half], inner, [logs[-1] + last]])))


@check_keywords
def plot_bracket(
    results: Records, *, epsilon: float = 0.1, model: str | None = None, norm: Any = None
) -> Any:
    """A slice through the surface: the (δ, ε)-robust share against δ at one ε, between its two ends.

    Both ends are steps: the certified share at a radius holds at every smaller one, and the unbroken share bounds
    the share at every larger one. The grey area between them is open.

    Args:
        results: The run.
        epsilon: Tolerated loss change, nats.
        model: Name of the model; optional if there is only one.
        norm: Norm; the first of the run if None.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the run has no such model or norm, or ε is negative.

    >>> from art_flat.testing import example_results
    >>> figure = plot_bracket(example_results())
    >>> figure.axes[0].get_title()
    'model, ε = 0.1 nats'
    """
    model, norm, epsilon = choose_model(results, model), choose_norm(results, norm), check_epsilon(epsilon)
    table = surface(results, [epsilon])
    table = table[(table["model"] == model) & (table["norm"] == norm)].sort_values("delta")
    figure, axes = new_figure()
    # no point moves at δ = 0, so every sample is robust there
    _draw_bracket(axes, table, tuple(ENDS), 1.0, tuple(ENDS.values()))
    axes.set(
        title=f"{model}, ε = {epsilon:.4g} nats", xlabel=delta_label(norm), ylabel=SHARE, ylim=(-0.02, 1.02)
    )
    legend_below(figure, [axes], 2)
    return figure


@check_keywords
def plot_security_curve(
    results: Records, *, model: str | None = None, norm: Any = None, attacks: Sequence[str] | None = None
) -> Any:
    """Robust accuracy against δ: every attack in grey, the worst case over all of them, the certified accuracy.

    Curves are steps: a robust accuracy bounds the truth at every larger radius, a certified accuracy at every smaller
    one; the grey area between the worst case and the certified accuracy is undecided. Points
    found on other models are dotted.

    Args:
        results: The run.
        model: Name of the model; optional if there is only one.
        norm: Norm; the first of the run if None.
        attacks: Attacks to draw in colour, with a name.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the run has no such model or norm.

    >>> from art_flat.testing import example_results
    >>> figure = plot_security_curve(example_results())
    >>> figure.axes[0].get_xlabel()
    'radius δ (L∞, clip units)'
    """
    model, norm = choose_model(results, model), choose_norm(results, norm)
    table = summarise(results)
    table = table[(table["model"] == model) & (table["norm"] == norm)]
    figure, axes = new_figure(4.6, 3.8 + 0.18 * len(attacks or ()))
    named = dict(
        zip(attacks or (), cycle(CYCLE[2:]), strict=False)
    )  # the first two are the worst case and certified
    labelled: set[str] = set()
    for (attack, source), part in table.groupby(["attack", "source_model"], sort=False):
        if attack == ALL_ATTACKS:
            continue
        is_direct, colour = source == model, named.get(str(attack))
        label = "single attacks" if is_direct else "points found on other models"
        label = origin(part.iloc[0]) if colour else label
        axes.plot(
            *_with_clean(part), drawstyle=ATTACKED_STEPS, color=colour or GREY, lw=1.4 if colour else 0.8,
            alpha=1 if colour else 0.6, ls="-" if is_direct else ":", label="_" if label in labelled else label,
        )  # fmt: skip
        labelled.add(label)
    worst = table[table["attack"] == ALL_ATTACKS] if (table["attack"] == ALL_ATTACKS).any() else table
    if len(worst):
        worst = worst.sort_values("delta")
        columns, labels = ("robust_accuracy", "certified_accuracy"), ("worst of all attacks", "certified")
        _draw_bracket(axes, worst, columns, float(worst["accuracy"].iloc[0]), labels, lw=2)
    axes.set(
        title=f"{model}, {norm_sign(norm)}", xlabel=delta_label(norm), ylabel="accuracy (share of samples)",
        ylim=(-0.02, 1.02),
    )  # fmt: skip
    legend_below(figure, [axes], 2 if not named else 1)
    return figure


def _with_clean(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """δ and the robust accuracy of an attack, from the clean accuracy at δ = 0 on."""
    part = part.sort_values("delta")
    accuracy = float(part["accuracy"].iloc[0])
    return known_points(part["delta"].to_numpy(float), part["robust_accuracy"].to_numpy(float), accuracy)


def _draw_bracket(
    axes: Any,
    table: pd.DataFrame,
    columns: tuple[str, ...],
    at_zero: float,
    labels: tuple[str, ...],
    **style: Any,
) -> None:
    """The upper and lower bound of a share as steps, and the area between them.

    Args:
        axes: Where to draw.
        table: One row per radius, sorted by δ.
        columns: Its columns with the upper and the lower end.
        at_zero: The share at δ = 0.
        labels: Labels of the upper and the lower end.
        **style: Options of `Axes.plot`.
    """
    delta, high, low = (table[c].to_numpy(float) for c in ("delta", *columns))
    if not np.isnan(high).all():
        x, below, above = open_area(delta, high, low, at_zero)
        axes.fill_between(x, below, above, color=GREY, alpha=0.25, lw=0, label="open")
    ends = [(high, ATTACKED_STEPS, RED, "o", labels[0]), (low, CERTIFIED_STEPS, BLUE, "s", labels[1])]
    for shares, steps, colour, marker, label in ends:
        if not np.isnan(shares).all():
            x, y = known_points(delta, shares, at_zero)
            axes.plot(x, y, drawstyle=steps, color=colour, marker=marker, label=label, **style)
