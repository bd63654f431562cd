"""Selection of the samples that the report shows as images."""

from __future__ import annotations

import pandas as pd

from ..summaries.selection import OUTCOMES, Selection

KINDS = {
    "loss": "Largest loss increase",
    "flat": "Flattest misclassified points",
    "fragile": "Most fragile: nearest misclassified points",
}


def gallery(select: Selection, norm: str, delta: float, n: int = 8) -> dict[str, pd.DataFrame]:
    """The samples with the largest loss increase, the flattest misclassified ones and the most fragile.

    Args:
        select: The records of a model.
        norm: The norm.
        delta: The radius.
        n: Number of samples of each kind.

    Returns:
        Kind → rows of `Selection.table`, the most extreme first; over clean-correct samples.
    """
    worst = select.worst(norm, delta)  # type: ignore[arg-type]
    right = worst[worst["outcome"] != OUTCOMES[3]]
    wrong = right[right["outcome"] != OUTCOMES[0]]
    nearest = select.nearest(norm, delta)  # type: ignore[arg-type]
    return {
        "loss": right.sort_values("loss_change", ascending=False, kind="stable").head(n),
        "flat": wrong.sort_values("log_kappa_adv", kind="stable").head(n),
        "fragile": nearest.sort_values("distance", kind="stable").head(n),
    }
