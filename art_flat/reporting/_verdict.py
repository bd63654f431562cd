"""The numbers behind the verdict: per model and norm, the certified and the attacked share at every radius."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .._utils.formatting import norm_sign, percent_of, radius_text
from ._numbers import evenly_spaced_indices
from .headline import headlines
from .text import certificate_notes, marked_share, unfinished_notes

MOST_LEVELS = 4
"""Most tolerances ε in the table; the slider of the page shows all."""


def verdicts(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Certified and attacked shares per model and norm.

    Args:
        summary: From `Results.summary`.

    Returns:
        Per model and norm: `title, sentence, notes, levels`, and `rows`, one per δ, with `brackets`: of accuracy, then
        one per ε.
    """
    levels = [c.split("@")[1] for c in summary.columns if c.startswith("certified@")]
    levels = [levels[i] for i in evenly_spaced_indices(len(levels), MOST_LEVELS)]
    verdict_rows = []
    for verdict in headlines(summary):
        rows = verdict.rows
        notes = [note[0].upper() + note[1:] for note in certificate_notes(rows)]
        verdict_rows.append(
            {
                "title": verdict.title,
                "sentence": verdict.sentence,
                "notes": [*_target_note(rows, verdict.norm), *notes, *unfinished_notes(rows)],
                "rows": [_row(row, levels) for row in rows.to_dict("records")],
                "levels": levels,
            }
        )
    return verdict_rows


def _row(row: dict[Any, Any], levels: list[str]) -> dict[str, Any]:
    n = int(row["n_evaluated"])
    return {
        "delta": radius_text(row["delta"]),
        "decimal": f"{row['delta']:.4g}",
        "accuracy": percent_of(row["accuracy"], n),
        "brackets": [
            _bracket(row, "certified_accuracy", "robust_accuracy"),
            *(_bracket(row, f"certified@{e}", f"loss_change_robustness@{e}") for e in levels),
        ],
    }


def _bracket(row: dict[Any, Any], certified: str, attacked: str) -> dict[str, Any]:
    low, high = row[certified], row[attacked]
    low_width = 100 * low if low == low else 0.0
    text = marked_share(row, percent_of(high, int(row["n_evaluated"])))
    return {
        "text": f"{100 * low:.1f} … {text}" if low == low else f"not certified … {text}",
        "low_width": f"{low_width:.2f}",
        "gap_width": f"{max(0.0, 100 * high - low_width):.2f}" if high == high else "0",
    }


def _target_note(rows: pd.DataFrame, norm: str) -> list[str]:
    last = rows.iloc[-1]
    if last["target_success"] != last["target_success"]:
        return []
    reached = percent_of(
        last["target_success"], int(last["n_evaluated"]), "sample reaches its", "samples reach their"
    )
    return [f"Within {norm_sign(norm)} δ = {radius_text(last['delta'])}, {reached} target class."]
