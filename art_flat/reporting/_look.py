"""Shared style of figures: colour-blind-safe colours and labels with units."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from .._utils.formatting import norm_sign
from ..summaries.selection import OUTCOMES

BLUE, ORANGE, GREEN, RED, PINK, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8F98",
)  # fmt: skip
"""The palette of Okabe and Ito, distinguishable under every common form of colour blindness, and a grey."""

CYCLE = (BLUE, RED, GREEN, ORANGE, PINK, SKY)
OUTCOME_COLOURS = dict(zip(OUTCOMES, (BLUE, ORANGE, RED, GREY), strict=True))
OUTCOME_MARKERS = dict(zip(OUTCOMES, ("o", "^", "D", "x"), strict=True))
"""Shapes beside the colours, so that a print in grey can be read."""

LOG10 = float(np.log(10.0))

_CHARACTERS_PER_INCH = 9  # of matplotlib's title font

KAPPA_CLEAN = "κ at the clean point (nats)"
KAPPA_ADV = "κ at the adversarial point (nats)"
LOSS_CHANGE = "loss change Δℓ (nats)"
EPSILON = "tolerated loss change ε (nats)"
SHARE = "share of samples"


def delta_label(norm: str) -> str:
    """The axis label of a radius."""
    unit = "pixels" if norm == "L0" else "clip units"
    return f"radius δ ({norm_sign(norm)}, {unit})"


def wrapped(figure: Any, title: str) -> str:
    """A title wrapped to the width of the figure, at spaces but not around "="."""
    unbroken = title.replace(" = ", "\xa0=\xa0")
    return textwrap.fill(unbroken, width=int(_CHARACTERS_PER_INCH * figure.get_figwidth())).replace(
        "\xa0", " "
    )


def short_lines(names: Any, width: int = 36) -> list[str]:
    """Tick labels of an axis; long names are split into several lines."""
    return [textwrap.fill(str(name), width=width) for name in names]


def rows_height(names: list[str]) -> float:
    """Height in inches of a figure with one row per name; a name may have several lines."""
    return 1.3 + 0.27 * max(len(names), 1) + 0.14 * sum(name.count("\n") for name in names)


KAPPA_ZERO = -300.0
"""Position of κ = 0 on an axis of base-10 logarithms."""


def power_of_ten(log_values: Any) -> np.ndarray:
    """Natural logarithms as base-10 ones for an axis; −∞ (κ = 0) becomes `KAPPA_ZERO`."""
    values = np.asarray(log_values, dtype=np.float64) / LOG10
    return np.where(np.isneginf(values), KAPPA_ZERO, values)


def new_figure(width: float = 4.6, height: float = 3.4, **subplots: Any) -> tuple[Any, Any]:
    """A new matplotlib figure and its axes, independent of pyplot's global state.

    Args:
        width: Inches.
        height: Inches.
        **subplots: Options of `Figure.subplots`.

    Returns:
        The figure and the axes.
    """
    from ._figure import ShownFigure

    figure = ShownFigure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(**subplots)
    for one in np.atleast_1d(np.asarray(axes, dtype=object)).ravel():
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25, linewidth=0.6)
        one.set_axisbelow(True)
    return figure, axes


def legend_below(figure: Any, axes: Any, columns: int) -> None:
    """One legend below a figure, where it covers no data, for some of its axes."""
    labelled = [one.get_legend_handles_labels() for one in axes]
    handles, labels = ([entry for both in labelled for entry in both[i]] for i in (0, 1))
    if handles:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small"
        )
