"""The conclusions of a run in sentences, from its summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from .._utils.formatting import norm_sign, percent, radius_text
from ..records import ALL_ATTACKS
from .text import certificate_notes, marked_share, origin, unfinished_notes


def overall(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows over all attacks; the rows of the only attack where a single one ran."""
    if summary.empty:
        return summary
    several = summary.groupby(["model", "norm"])["attack"].transform(lambda a: (a == ALL_ATTACKS).any())
    return summary[(summary["attack"] == ALL_ATTACKS) | ~several]


def verdicts(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Certified and empirical robustness in sentences, per model and norm.

    Args:
        summary: From `Results.summary`.

    Returns:
        Per model and norm: `model, norm, sentences`, and `rows`, one per δ, with `brackets`, one per ε.
    """
    if summary.empty:
        return []
    levels = [c.split("@")[1] for c in summary.columns if c.startswith("certified@")]
    verdict_rows = []
    for (model, norm), part in overall(summary).groupby(["model", "norm"], sort=False):
        rows = [_row(row, summary, levels) for row in part.sort_values("delta").to_dict("records")]
        sign = norm_sign(str(norm))
        certificates = [note[0].upper() + note[1:] for note in certificate_notes(part)]
        sentences = [*_sentences(rows, sign), *certificates, *unfinished_notes(part)]
        verdict_rows.append(
            {"model": str(model), "norm": sign, "sentences": sentences, "rows": rows, "levels": levels}
        )
    return verdict_rows


def _row(row: dict[str, Any], summary: pd.DataFrame, levels: list[str]) -> dict[str, Any]:
    same = (summary["model"] == row["model"]) & (summary["norm"] == row["norm"])
    single = summary[same & (summary["delta"] == row["delta"]) & (summary["attack"] != ALL_ATTACKS)]
    single = single[single["robust_accuracy"].notna()].sort_values("robust_accuracy", kind="stable")
    strongest = None if single.empty else single.iloc[0]
    return {
        "delta": radius_text(row["delta"]),
        "decimal": f"{row['delta']:.4g}",
        "n": int(row["n_evaluated"]),
        "accuracy": percent(row["accuracy"]),
        "certified_accuracy": percent(row["certified_accuracy"]),
        "robust_accuracy": marked_share(row, percent(row["robust_accuracy"])),
        "target_success": percent(row["target_success"]),
        "strongest": None if strongest is None else origin(strongest),
        "strongest_leaves": "–" if strongest is None else percent(strongest["robust_accuracy"]),
        "brackets": [_bracket(row, level) for level in levels],
    }


def _bracket(row: dict[str, Any], level: str) -> dict[str, Any]:
    low, high = row[f"certified@{level}"], row[f"loss_change_robustness@{level}"]
    is_certified = high == high
    low_width = 100 * low if low == low else 0.0
    return {
        "epsilon": level,
        "low": percent(low) if low == low else "not certified",
        "high": marked_share(row, percent(high)),
        "known": is_certified,
        "low_width": f"{low_width:.2f}",
        "gap_width": f"{max(0.0, 100 * high - low_width):.2f}" if is_certified else "0",
    }


def _sentences(rows: list[dict[str, Any]], sign: str) -> Iterator[str]:
    first, last = rows[0], rows[-1]
    if not any(row["n"] for row in rows):
        yield f"No results for {sign}: every attack failed or was skipped."
        return
    for row in [first] if first is last else [first, last]:
        by = (
            f", the strongest alone being {row['strongest']} ({row['strongest_leaves']})"
            if row["strongest"]
            else ""
        )
        yield (
            f"Within {sign} δ = {row['delta']}, the attacks bring accuracy from {row['accuracy']} down to "
            f"{row['robust_accuracy']}{by}; {row['certified_accuracy']} is certified."
            if row["certified_accuracy"] != "–"
            else f"Within {sign} δ = {row['delta']}, the attacks bring accuracy from {row['accuracy']} down to "
            f"{row['robust_accuracy']}{by}; nothing is certified."
        )
    if last["target_success"] != "–":
        yield f"Within {sign} δ = {last['delta']}, {last['target_success']} of the samples reach their target class."
    if first["brackets"]:
        middle = first["brackets"][len(first["brackets"]) // 2]
        yield (
            f"At δ = {first['delta']} and a tolerated loss change of ε = {middle['epsilon']} nats, the robust share "
            f"lies between {middle['low'] if middle['low'] != 'not certified' else '0 (nothing certified)'} and "
            f"{middle['high']} (not broken by any attack)."
        )
