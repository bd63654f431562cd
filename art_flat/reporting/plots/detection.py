"""Figure of detection accuracy against the radius."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pandas as pd

from ...errors import InputError
from .._look import CYCLE, GREY, delta_label, new_figure, wrapped
from ._choose import select_one_group


def plot_detection(table: pd.DataFrame) -> Any:
    """Balanced accuracy of each detector at each δ; the dashed line is guessing.

    Dotted lines connect the points of a detector; nothing was measured between two radii.

    Args:
        table: Result of `detection_table` for one attack and norm. Where several tables are concatenated, such as
            those of several seeds, points are means per radius and bars range from the smallest to the largest.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the table has no row or no detector.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"attack": "art_flat:PGD", "norm": "Linf", "delta": [0.1, 0.2], "stump": [0.8, 0.9]})
    >>> plot_detection(table).axes[0].get_ylabel()
    'balanced accuracy'
    """
    part = select_one_group(table, "detection", attack=None, norm=None)
    described = {"attack", "norm", "delta", "n", "log_kappa_change", "seed"}
    detectors = [column for column in part.columns if column not in described and not column.endswith("_tpr")]
    if not detectors:
        raise InputError("detection: no column of a detector; pass the result of `detection_table`")
    groups = part.groupby("delta")[detectors]
    low, mean, high = groups.min(), groups.mean(), groups.max()
    figure, axes = new_figure(5.2, 3.6)
    for detector, colour, marker in zip(detectors, cycle(CYCLE), cycle("os^Dv"), strict=False):
        axes.vlines(mean.index, low[detector], high[detector], color=colour, lw=1.5)
        axes.plot(
            mean.index, mean[detector], color=colour, marker=marker, ls=":", label=detector.replace("_", " ")
        )
    axes.axhline(0.5, color=GREY, lw=1, ls="--")
    norm = str(part["norm"].iloc[0])
    axes.set(xlabel=delta_label(norm), ylabel="balanced accuracy", ylim=(None, 1.02))
    axes.legend(frameon=False, fontsize="small")
    figure.suptitle(wrapped(figure, str(part["attack"].iloc[0])))
    return figure
