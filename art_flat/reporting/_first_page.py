"""The opening page of the report, for a reader who was not there: the verdict, one picture, the radii of one half."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .._utils.formatting import MISSING, counted, norm_sign, percent, percent_of, radius_text
from ._numbers import evenly_spaced_indices
from .headline import HalfRadii, Verdict, headlines
from .text import marked_share, unfinished_notes

MOST_PANELS, MOST_LINES = 4, 6
"""What fits one printed page: panels with bars, and lines of the table of radii."""
MOST_BARS = {1: 8, 2: 8, 3: 4, 4: 4}
"""Bars of a panel, by the number of panels."""


def first_page(scores: pd.DataFrame, strongest: list[dict[str, Any]], epsilon: str) -> dict[str, Any]:
    """The content of the opening page.

    Args:
        scores: The summary.
        strongest: From `_strongest.strongest`.
        epsilon: The tolerated loss change of the table of radii, as in the names of the summary's columns.

    Returns:
        `panels`, `lines` (one per model and norm, radii as text), `more` (how many models and norms are not shown on
        the page), and `notes`.
    """
    verdicts = headlines(scores)
    shown = verdicts[:MOST_PANELS]
    return {
        "panels": [_panel(v, strongest, MOST_BARS[len(shown)]) for v in shown],
        "lines": [_line(v, epsilon) for v in verdicts[:MOST_LINES]],
        "more": max(0, len(verdicts) - MOST_LINES),
        "notes": unfinished_notes(scores),
    }


def _line(verdict: Verdict, epsilon: str) -> dict[str, Any]:
    def texts(radii: HalfRadii) -> list[str]:
        return [MISSING if r is None else radius_text(r) for r in radii]

    return {
        "title": verdict.title,
        "accuracy": texts(verdict.radii),
        "loss": texts(verdict.half_radii(epsilon)),
    }


def _panel(verdict: Verdict, strongest: list[dict[str, Any]], most_bars: int) -> dict[str, Any]:
    row = verdict.telling
    at = f"δ = {radius_text(row['delta'])}"
    keys = (verdict.model, norm_sign(verdict.norm), radius_text(row["delta"]))
    named = next((s for s in strongest if (s["model"], s["norm"], s["delta"]) == keys), None)
    return {
        "title": verdict.title,
        "sentence": verdict.sentence,
        "bars": [_bar(r) for r in _shown(verdict, most_bars).to_dict("records")],
        "facts": list(_facts(row, at, named)) if row["n_evaluated"] else [],
    }


def _shown(verdict: Verdict, most: int) -> pd.DataFrame:
    """Rows of the radii that get a bar: all, or those that the verdict names and evenly spaced ones."""
    rows = verdict.rows
    if len(rows) <= most:
        return rows
    named = {*rows.index[rows["delta"].isin([r for r in verdict.radii if r is not None])]}
    spaced = rows.index[evenly_spaced_indices(len(rows), most - len(named))]
    return rows[rows.index.isin({*named, *spaced})]


def _bar(row: dict[Any, Any]) -> dict[str, Any]:
    low, high = row["certified_accuracy"], row["robust_accuracy"]
    proven = 0.0 if low != low else min(low, high)
    known = high == high
    text = f"{100 * low:.1f} … {percent(high)}" if low == low else f"at most {percent(high)}"
    parts = (proven, high - proven, row["accuracy"] - high, 1 - row["accuracy"]) if known else (0, 0, 0, 0)
    return {
        "delta": radius_text(row["delta"]),
        "text": marked_share(row, text) if known else "not measured",
        "n": int(row["n_evaluated"]),
        "widths": dict(
            zip(("low", "gap", "broken", "wrong"), (f"{100 * max(0.0, p):.2f}" for p in parts), strict=True)
        ),
    }


def _facts(row: pd.Series, at: str, strongest: dict[str, Any] | None) -> Any:
    n = int(row["n_evaluated"])
    certified = row["certified_accuracy"]
    proven = "nothing is certified" if certified != certified else f"{percent_of(certified, n)} certified"
    yield (
        f"Within {at}, accuracy falls from {percent_of(row['accuracy'], n, 'sample')} to "
        f"{percent_of(row['robust_accuracy'], n)}; {proven}."
    )
    broken = int(row["n_adversarial"])
    if broken:
        yield (
            f"Robust or only flat? Of the {counted(broken, 'sample')} broken there where their loss is largest, "
            f"{percent_of(row['flat_fraction'], broken)} are flatter than before; "
            f"{percent_of(row['confidently_wrong_fraction'], n, 'sample is', 'samples are')} wrong "
            "with probability ≥ 0.9."
        )
    if strongest is not None:
        yield (f"Strongest attack there: in accuracy {strongest['accuracy']}; in loss {strongest['loss']}.")
