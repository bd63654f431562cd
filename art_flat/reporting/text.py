"""Text of the summary: titles, cells and notes, shared by all outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from .._utils.formatting import ball_text, counted, norm_sign, number, percent
from ..certification import CERTIFICATE_KINDS
from ..diagnostics import diagnose
from ..records import ALL_ATTACKS, Records
from ..records.schema import UNDEFINED_OUTPUTS
from ..summaries import failures, not_run

_MARK = "†"
_INCOMPLETE = "‡"
_CONSTANTS = {
    "spectral": "Lipschitz constants derived from the layers",
    "given": "a given Lipschitz constant, not verified",
}


def is_targeted(frame: pd.DataFrame) -> bool:
    """Whether a summary has points of targeted attacks."""
    return bool(frame["target_success"].notna().any())


def column_titles(levels: Sequence[str], targeted: bool = False) -> list[str]:
    """Titles of the cells of `row_cells`, with line breaks where they may be broken.

    Args:
        levels: The columns `loss_change_robustness@ε` of a summary.
        targeted: Whether to show how often targets are reached.

    Returns:
        One title per cell.
    """
    changes = [f"Δℓ ≤ {c.split('@')[1]}\nnats" for c in levels]
    flatness = ["κ clean", "κ adv.", "flatter", "confidently\nwrong"]
    reached = ["target\nreached"] if targeted else []
    return ["δ", "n", "accuracy", "robust\naccuracy", *reached, *changes, *flatness, "s"]


def row_cells(row: Mapping[Any, Any], levels: Sequence[str], targeted: bool = False) -> list[str]:
    """One row of a summary as text, without the attack; see `column_titles`."""
    return [
        f"{row['delta']:.4g}",
        str(row["n_evaluated"]),
        percent(row["accuracy"]),
        marked_share(row, percent(row["robust_accuracy"])),
        *([percent(row["target_success"])] if targeted else []),
        *(marked_share(row, _bracket(row, c)) for c in levels),
        number(row["kappa_clean"]),
        number(row["kappa_adv"]),
        percent(row["flat_fraction"]),
        percent(row["confidently_wrong_fraction"]),
        f"{row['seconds']:.1f}",
    ]


def marked_share(row: Mapping[Any, Any], share: str) -> str:
    """A share as text, marked where no attack finished on some of the samples."""
    return share + _INCOMPLETE if row["n_unfinished"] and row["n_evaluated"] else share


def attack_title(row: Mapping[Any, Any]) -> str:
    """The attack of a row, marked if it does not maximise the loss, with the model its points are from."""
    return origin(row, "" if row["maximises_loss"] else _MARK)


def origin(row: Mapping[Any, Any], mark: str = "") -> str:
    """The attack of a row, with the model its points were found on if that is a different one."""
    source = "" if row["source_model"] == row["model"] else f" (found on {row['source_model']})"
    return f"{row['attack']}{mark}{source}"


def summary_notes(frame: pd.DataFrame) -> list[str]:
    """Notes below the tables that explain how to read them."""
    notes = [
        "Δℓ ≤ ε: share whose loss rises by at most ε (loss-change robustness, an upper estimate); in the last rows "
        "certified share…upper estimate. κ, flatter: over clean-correct samples that are misclassified when attacked, "
        "where their loss is largest."
    ]
    notes += certificate_notes(frame)
    if not frame["maximises_loss"].all():
        notes.append(f"{_MARK} does not maximise the loss: its Δℓ columns are not informative.")
    return notes + unfinished_notes(frame)


def certificate_notes(frame: pd.DataFrame) -> Iterator[str]:
    """What certifies, in feature space and over balls of inputs, and for which models."""
    rows = frame.assign(kind=frame["bound_kind"].str.split(", ")).explode("kind").dropna(subset="kind")
    in_balls = rows["kind"].isin(CERTIFICATE_KINDS)
    for constant, part in rows[~in_balls].groupby("lipschitz_kind"):
        models = ", ".join(part["model"].astype(str).unique())
        yield f"certified with {_CONSTANTS[str(constant)]} ({models}), bound: {', '.join(part['kind'].unique())}."
    for kinds, named in _models_by_kinds(rows[in_balls]).items():
        yield f"certified over balls of inputs ({', '.join(named)}), bound: {kinds}."


def _models_by_kinds(rows: pd.DataFrame) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for model, part in rows.groupby("model", sort=False):
        found.setdefault(", ".join(part["kind"].unique()), []).append(str(model))
    return found


def unfinished_notes(frame: pd.DataFrame) -> list[str]:
    """Explanation of the mark of `marked_share`; empty if no share has it."""
    part = frame[(frame["n_unfinished"] > 0) & (frame["n_evaluated"] > 0)] if len(frame) else frame
    if part.empty:
        return []
    most = int(part["n_unfinished"].max())
    return [
        f"{_INCOMPLETE} no attack finished on some samples (up to {most}); the share is of the other samples alone."
    ]


def target_lines(results: Records) -> list[str]:
    """Targets of a targeted run and how to read its numbers; empty if the run is untargeted."""
    rule = results.facts.get("target")
    if rule is None:
        return []
    return [
        f"targeted run: attacks push each sample towards {TARGET_TEXTS.get(rule, rule)}. Target reached: share with "
        "a point within δ that is predicted as the target. Robust accuracy counts every wrong prediction found, and "
        "Δℓ is the change of the loss at the true label; targeted attacks seek neither, so both are weaker upper "
        "estimates than those of an untargeted run."
    ]


def missing_lines(results: Records) -> list[str]:
    """Number of units not computed yet, and its consequence; empty if none is missing."""
    if not results.missing_units:
        return []
    return [
        f"not computed yet: {results.missing_units} of {counted(results.total_units, 'unit')}; the "
        "numbers are of what is "
        "there."
    ]


def not_run_lines(results: Records) -> list[str]:
    """Requested attacks and radii that did not run, one line per reason; empty if everything ran."""
    lines = []
    for row in not_run(results).to_dict("records"):
        attack = "" if row["attack"] is None else f", {row['attack']}"
        lines.append(f"not run: {row['model']}{attack}, {_where(row)}: {row['reason']}")
    return lines


def failure_lines(results: Records) -> list[str]:
    """Failed and skipped units, one line per reason, with the number of samples."""
    failed = failures(results)
    if failed.empty:
        return []
    lines = [failure_counts(failed)]
    for row in failed.to_dict("records"):
        lines.append(f"  {row['status']}: {row['attack']}, {_where(row)}: {row['error']}")
    return lines


def _where(row: Mapping[Any, Any]) -> str:
    """The norm of a row, and its radius if it has one."""
    return norm_sign(row["norm"]) if math.isnan(row["delta"]) else ball_text(row["norm"], row["delta"])


def failure_counts(failures: pd.DataFrame) -> str:
    """Number of points that failed or were skipped, and how the scores count them; ends in a colon."""
    undefined = failures["error"].isin(UNDEFINED_OUTPUTS)
    counts = failures[~undefined].groupby("status")["n"].sum()
    parts = []
    if undefined.any():
        n = failures.loc[undefined, "n"].sum()
        parts.append(f"{counted(n, 'sample')} failed with an undefined output; they count as not robust")
    if len(counts):
        numbers = ", ".join(f"{counted(n, 'sample')} {status}" for status, n in counts.items())
        parts.append(f"{numbers}; they are left out of the scores")
    return "; ".join(parts) + ":"


def error_lines(results: Records) -> list[str]:
    """Findings that make numbers wrong or meaningless, shown above them; empty if there are none."""
    lines = _finding_lines(results, errors=True)
    return ["errors, to be read before the numbers:", *lines] if lines else []


def finding_lines(results: Records) -> list[str]:
    """The remaining findings, one line each; empty if there are none."""
    lines = _finding_lines(results, errors=False)
    return ["findings:", *lines] if lines else []


def _finding_lines(results: Records, *, errors: bool) -> list[str]:
    findings = (f for f in diagnose(results) if (f.severity == "error") == errors)
    return ["  " + " ".join(str(finding).split()) for finding in findings]


def _bracket(row: Mapping[Any, Any], column: str) -> str:
    """The share that no attack broke; for all attacks together with the certified share before it."""
    certified = row[column.replace("loss_change_robustness", "certified")]
    if row["attack"] != ALL_ATTACKS or math.isnan(certified):
        return percent(row[column])
    return f"{100 * certified:.1f}…{percent(row[column])}"


TARGET_TEXTS = {
    "least-likely": "the wrong class with the smallest logit at the clean point",
    "next": "the class after the true one",
    "given": "the given class",
}
"""Description of a sample's target, by `Targets.rule`."""
