"""Figures of κ: clean against adversarial, confidence against κ, distributions per attack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..._utils.formatting import ball_text
from ..._utils.validation import check_keywords
from ...records import Records
from ...summaries import select
from ...typing import Definition
from .._look import (
    BLUE,
    GREY,
    KAPPA_ADV,
    KAPPA_CLEAN,
    LOG10,
    LOSS_CHANGE,
    OUTCOME_COLOURS,
    OUTCOME_MARKERS,
    new_figure,
    rows_height,
    short_lines,
    wrapped,
)  # fmt: skip
from ._choose import choose_cell


@check_keywords
def plot_kappa(
    results: Records,
    *,
    model: str | None = None,
    norm: Any = None,
    delta: float | None = None,
    attack: str | None = None,
    definition: Definition = "paper",
) -> Any:
    """κ at the adversarial point against κ at the clean one, on logarithmic axes, coloured by outcome.

    One point per sample: where its loss is largest. Adversarial points below the diagonal are flatter.

    Args:
        results: The run.
        model: Name of the model; optional if there is only one.
        norm: Norm; the first of the run if None.
        delta: Radius in clip units; the largest of the run in that norm if None.
        attack: Attack; the worst case over all attacks if None.
        definition: Definition of the relative sharpness κ.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the run has no such model, norm or radius.

    >>> from art_flat.testing import example_results
    >>> figure = plot_kappa(example_results())
    >>> figure.axes[0].get_xlabel()
    'κ at the clean point (nats)'
    """
    table, title = _worst(results, model, norm, delta, attack, definition)
    figure, axes = new_figure(4.6, 4.2)
    x, y = table["log_kappa_clean"] / LOG10, table["log_kappa_adv"] / LOG10
    _scatter(axes, x, y, table["outcome"])
    both = np.concatenate([x, y])
    both = both[np.isfinite(both)]
    if both.size:
        ends = [both.min(), both.max()]
        axes.plot(ends, ends, color=GREY, lw=1, ls="--", zorder=0)
    axes.set(title=wrapped(figure, title), xlabel=KAPPA_CLEAN, ylabel=KAPPA_ADV)
    label_powers(axes.xaxis)
    label_powers(axes.yaxis)
    _legend(figure)
    return figure


@check_keywords
def plot_confidence(
    results: Records,
    *,
    model: str | None = None,
    norm: Any = None,
    delta: float | None = None,
    attack: str | None = None,
    definition: Definition = "paper",
) -> Any:
    """Confidence (max p) against κ at the adversarial points: confidently wrong and flat points are at the top left.

    Args:
        results: The run.
        model: Name of the model; optional if there is only one.
        norm: Norm; the first of the run if None.
        delta: Radius in clip units; the largest of the run in that norm if None.
        attack: Attack; the worst case over all attacks if None.
        definition: Definition of the relative sharpness κ.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the run has no such model, norm or radius.

    >>> from art_flat.testing import example_results
    >>> figure = plot_confidence(example_results())
    >>> figure.axes[0].get_ylabel()
    'confidence max p'
    """
    table, title = _worst(results, model, norm, delta, attack, definition)
    figure, axes = new_figure()
    _scatter(axes, table["log_kappa_adv"] / LOG10, table["confidence_adv"], table["outcome"])
    axes.set(title=wrapped(figure, title), xlabel=KAPPA_ADV, ylabel="confidence max p", ylim=(None, 1.02))
    label_powers(axes.xaxis)
    _legend(figure)
    return figure


@check_keywords
def plot_distributions(
    results: Records,
    *,
    model: str | None = None,
    norm: Any = None,
    delta: float | None = None,
    definition: Definition = "paper",
) -> Any:
    """Distribution of the loss change and the ratio κ_adv/κ_clean over the samples, per attack.

    Boxes hold the middle half, whiskers 90 % of the samples.

    Args:
        results: The run.
        model: Name of the model; optional if there is only one.
        norm: Norm; the first of the run if None.
        delta: Radius in clip units; the largest of the run in that norm if None.
        definition: Definition of the relative sharpness κ.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the run has no such model, norm or radius.

    >>> from art_flat.testing import example_results
    >>> figure = plot_distributions(example_results())
    >>> figure.axes[0].get_xlabel()
    'loss change Δℓ (nats)'
    """
    model, norm, delta = choose_cell(results, model, norm, delta)
    selection = select(results, model, definition)
    parts = {str(a["name"]): selection.worst(norm, delta, a["name"]) for a in results.facts["attacks"]}
    parts = {name: part for name, part in parts.items() if len(part)}
    names = short_lines(parts)
    figure, axes = new_figure(7.0, rows_height(names), ncols=2, sharey=True)
    shown = {
        LOSS_CHANGE: [part["loss_change"] for part in parts.values()],
        "κ adversarial over κ clean": [
            (part["log_kappa_adv"] - part["log_kappa_clean"]) / LOG10 for part in parts.values()
        ],
    }
    for one, (label, columns) in zip(axes, shown.items(), strict=True):
        finite = [values[np.isfinite(values)] for values in columns]
        if finite:
            one.boxplot(
                finite, orientation="horizontal", whis=(5, 95), showfliers=False, widths=0.6,
                medianprops={"color": BLUE, "linewidth": 1.6},
            )  # fmt: skip
            one.set_yticks(range(1, len(parts) + 1), names)
        one.set_xlabel(label)
        one.axvline(0, color=GREY, lw=1)
    axes[0].invert_yaxis()
    label_powers(axes[1].xaxis)
    figure.suptitle(f"{model}, {ball_text(norm, delta)}")
    return figure


def _worst(
    results: Records,
    model: str | None,
    norm: Any,
    delta: float | None,
    attack: str | None,
    definition: Definition,
) -> tuple[pd.DataFrame, str]:
    model, norm, delta = choose_cell(results, model, norm, delta)
    table = select(results, model, definition).worst(norm, delta, attack)
    return table, f"{model}, {attack or 'worst of all attacks'}, {ball_text(norm, delta)}"


def _scatter(axes: Any, x: Any, y: Any, outcome: Any) -> None:
    for name, colour in OUTCOME_COLOURS.items():
        selected = (outcome == name).to_numpy()
        if selected.any():
            axes.scatter(
                x[selected], y[selected], s=12, alpha=0.6, color=colour, marker=OUTCOME_MARKERS[name], lw=0.8,
                label=f"{name} ({selected.mean():.0%})", rasterized=len(x) > 3000,
            )  # fmt: skip


def label_powers(axis: Any) -> None:
    """Labels for an axis that holds logarithms to base 10."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    class Locator(MaxNLocator):
        """Ticks at whole powers; where fewer than two are visible, at 1, 2 and 5 times them."""

        def tick_values(self, vmin: float, vmax: float) -> Any:
            if vmax - vmin >= 2:
                return super().tick_values(vmin, vmax)
            whole = np.arange(np.floor(vmin), np.ceil(vmax) + 1)
            parts = (1, 1.5, 2, 3, 5, 7) if vmax - vmin < 0.7 else (1, 2, 5)
            return np.add.outer(whole, np.log10(parts)).ravel()

    def text(value: float, _: Any) -> str:
        near = abs(value - round(value)) < 1e-9
        return f"$10^{{{round(value)}}}$" if near else f"{10**value:.3g}"

    axis.set_major_locator(Locator(6, integer=True))
    axis.set_major_formatter(FuncFormatter(text))


def _legend(figure: Any) -> None:
    if figure.axes[0].get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
