"""Comparison of attacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._utils.formatting import ball_text
from ..._utils.numbers import check_epsilon
from ..._utils.validation import check_keywords
from ...records import ALL_ATTACKS, Records
from ...summaries import summarise
from .._look import BLUE, GREEN, RED, SHARE, new_figure, rows_height, short_lines
from ..text import origin
from ._choose import choose_cell


@check_keywords
def plot_attacks(
    results: Records,
    *,
    model: str | None = None,
    norm: Any = None,
    delta: float | None = None,
    epsilon: float = 0.1,
) -> Any:
    """Comparison of attacks: robust accuracy, (δ, ε)-robust share and confidently wrong share under each.

    The strongest is at the top. An attack whose loss-change robustness is far above its robust accuracy stops
    at the decision boundary and does not measure robustness of the loss.

    Args:
        results: The run.
        model: Name of the model; optional if there is only one.
        norm: Norm; the first of the run if None.
        delta: Radius in clip units; the largest of the run in that norm if None.
        epsilon: Tolerated loss change, nats.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the run has no such model, norm or radius, or ε is negative.

    >>> from art_flat.testing import example_results
    >>> figure = plot_attacks(example_results())
    >>> figure.axes[0].get_title()
    'model, L∞, δ = 0.3'
    """
    model, norm, delta = choose_cell(results, model, norm, delta)
    epsilon = check_epsilon(epsilon)
    table = summarise(results, [epsilon])
    table = table[(table["model"] == model) & (table["norm"] == norm) & (table["delta"] == delta)]
    table = table.sort_values("robust_accuracy", kind="stable", na_position="last")
    names = [
        "worst of all" if row["attack"] == ALL_ATTACKS else origin(row) for row in table.to_dict("records")
    ]
    names = short_lines(names)
    figure, axes = new_figure(6.4, rows_height(names))
    where = np.arange(len(names))
    for column, marker, colour, label in (
        ("robust_accuracy", "o", RED, "robust accuracy"),
        (f"loss_change_robustness@{epsilon:g}", "s", BLUE, f"Δℓ ≤ {epsilon:.4g} nats"),
        ("confidently_wrong_fraction", "^", GREEN, "confidently wrong"),
    ):
        axes.plot(table[column], where, ls="", marker=marker, color=colour, label=label)
    axes.set_yticks(where, names)
    axes.invert_yaxis()
    axes.set(title=f"{model}, {ball_text(norm, delta)}", xlabel=SHARE, xlim=(-0.02, 1.02))
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
