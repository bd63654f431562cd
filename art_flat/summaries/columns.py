"""Columns of the summary: the ones that a reader looks at first, and a choice of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..errors import UnknownNameError

MAIN = (
    "model", "attack", "norm", "delta", "n_evaluated", "accuracy", "certified_accuracy", "robust_accuracy",
    "flat_fraction", "confidently_wrong_fraction",
)  # fmt: skip
"""The ten columns with which the summary begins, before two per ε."""
BRACKET = ("certified@", "loss_change_robustness@")
"""How the columns of the two ends of the bracket begin, one each per ε."""


def main_first(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with its main columns first; the others keep their order."""
    main = _main(summary)
    return summary[[*main, *(c for c in summary.columns if c not in main)]]


def chosen_columns(summary: pd.DataFrame, columns: str | Sequence[str]) -> pd.DataFrame:
    """Some columns of a summary.

    Args:
        summary: The summary.
        columns: `"all"`, `"main"`, or names.

    Returns:
        The columns, in the order asked for.

    Raises:
        UnknownNameError: If there is no such column.

    >>> import art_flat.testing
    >>> chosen_columns(art_flat.testing.example_results().summary(), ["delta", "robust_accuracy"]).shape
    (6, 2)
    """
    if columns == "all" or summary.empty:
        return summary
    names = _main(summary) if columns == "main" else [columns] if isinstance(columns, str) else list(columns)
    for name in names:
        if name not in summary.columns:
            raise UnknownNameError("column", name, ["all", "main", *map(str, summary.columns)])
    return summary[names]


def _main(summary: pd.DataFrame) -> list[str]:
    brackets = [c for c in summary.columns if str(c).startswith(BRACKET)]
    return [
        *(c for c in MAIN if c in summary.columns),
        *sorted(brackets, key=lambda c: float(c.split("@")[1])),
    ]
