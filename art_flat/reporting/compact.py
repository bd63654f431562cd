"""The short form of the summary: radii across, the worst case of all attacks first, then a line per attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from .._utils.formatting import MISSING, counted, is_missing, norm_sign, number, percent, radius_text
from .._utils.sequence_names import split_position
from ..records import ALL_ATTACKS
from .attack_runs import STEP, AttackRun, attack_runs
from .text import certificate_notes, is_targeted, marked_share, origin, unfinished_notes


class Section(NamedTuple):
    """Lines of a table under one heading."""

    heading: str
    lines: Sequence[Sequence[str]]
    """Each a title and one cell per radius."""


class CompactTable(NamedTuple):
    """The results of one model in one norm, as text.

    Attributes:
        title: Model, norm, number of samples and accuracy.
        radii: Titles of the columns.
        sections: The lines; the first section is the worst case over all attacks.
        caption: Units and how to read the cells.
    """

    title: str
    radii: Sequence[str]
    sections: Sequence[Section]
    caption: str


def compact_tables(
    frame: pd.DataFrame, definition: str, max_radii: int | None = None
) -> Iterator[CompactTable]:
    """The summary as tables that fit a page.

    Args:
        frame: From `Results.summary`, with the names of attacks as they are to be shown, see `with_short_names`.
        definition: Definition of the relative sharpness κ in it.
        max_radii: Largest number of columns; more radii continue in a further table. None for no limit.

    Yields:
        A table per model and norm.

    >>> from art_flat.testing import example_results
    >>> table = next(compact_tables(example_results().summary([0.1]), "paper"))
    >>> table.title, list(table.radii)
    ('model, L∞: 4 samples, accuracy 100.0 %', ['δ = 0.05', '0.3'])
    >>> table.sections[0].lines[0]
    ['robust accuracy', '100.0…100.0', '50.0…50.0']
    """
    for (model, norm), part in frame.groupby(["model", "norm"], sort=False) if len(frame) else ():
        deltas = sorted(part["delta"].unique())
        step = max_radii or len(deltas)
        for first in range(0, len(deltas), step):
            columns = deltas[first : first + step]
            title = f"{model}, {norm_sign(str(norm))}"
            yield _table(title, part[part["delta"].isin(columns)], columns, definition)


def compact_notes(frame: pd.DataFrame) -> list[str]:
    """Notes below the tables that explain how to read them.

    Args:
        frame: From `Results.summary`.

    Returns:
        The notes.
    """
    return [
        "a…b: share of samples that is certified…share that no attack broke; the truth lies between. Δℓ ≤ ε: the loss "
        "rises by at most ε anywhere in the ball (loss-change robustness).",
        "Fooled samples: clean-correct and misclassified when attacked. Over these, where their loss is largest: the "
        "median of κ, and flatter, the share whose κ falls. Confidently wrong: share of all samples that are "
        "misclassified with probability ≥ 0.9.",
        *_sequence_notes(frame),
        *certificate_notes(frame),
        *unfinished_notes(frame),
    ]


def _sequence_notes(frame: pd.DataFrame) -> Iterator[str]:
    places = filter(None, (split_position(str(name)) for name in frame["attack"]))
    sequences = dict.fromkeys(sequence for _, sequence, _ in places)
    if sequences:
        yield (
            f"{', '.join(sequences)}: each step attacks the samples that the earlier ones did not fool; "
            f"{STEP.strip()}: share of all samples that is robust to it and to those before it."
        )


def _table(title: str, part: pd.DataFrame, deltas: Sequence[float], definition: str) -> CompactTable:
    several = (part["attack"] == ALL_ATTACKS).any()
    rows = part[part["attack"] == ALL_ATTACKS] if several else part
    worst = {row["delta"]: row for row in rows.to_dict("records")}
    most = max(worst.values(), key=lambda row: row["n_evaluated"])
    radii = [radius_text(delta) for delta in deltas]
    heading = "worst of all attacks" if several else origin(most)
    sections = [Section(heading, list(_worst_lines(worst, deltas, part)))]
    if several:
        single = part[part["attack"] != ALL_ATTACKS]
        sections.append(
            Section("robust accuracy by attack, strongest first", list(_attack_lines(single, deltas)))
        )
    return CompactTable(
        f"{title}: {counted(most['n_evaluated'], 'sample')}, accuracy {percent(most['accuracy'])}",
        [f"δ = {radii[0]}", *radii[1:]],
        sections,
        f"shares in %; δ in clip units; κ: median relative sharpness ({definition}), nats",
    )


def _worst_lines(
    worst: Mapping[float, Mapping[Any, Any]], deltas: Sequence[float], part: pd.DataFrame
) -> Iterator[list[str]]:
    def line(title: str, cell: Any) -> list[str]:
        return [title, *(cell(worst[d]) if d in worst else MISSING for d in deltas)]

    yield line("robust accuracy", lambda row: bracket_text(row, "certified_accuracy", "robust_accuracy"))
    if is_targeted(part):
        yield line("target reached", lambda row: _share(row["target_success"]))
    for level in (c.split("@")[1] for c in part.columns if c.startswith("certified@")):
        low, high = f"certified@{level}", f"loss_change_robustness@{level}"
        yield line(f"Δℓ ≤ {level} nats", lambda row, low=low, high=high: bracket_text(row, low, high))
    yield line("fooled samples", lambda row: str(row["n_adversarial"]))
    yield line("κ clean", lambda row: number(row["kappa_clean"]))
    yield line("κ adv.", lambda row: number(row["kappa_adv"]))
    yield line("flatter", lambda row: _share(row["flat_fraction"]))
    yield line("confidently wrong", lambda row: _share(row["confidently_wrong_fraction"]))


def _attack_lines(part: pd.DataFrame, deltas: Sequence[float]) -> Iterator[list[str]]:
    """One line per attack or sequence and model its points are from, by the mean of its robust accuracies.

    Below a sequence are its steps in order, with what each left of all samples.
    """
    for run in sorted(attack_runs(part), key=_strength):
        yield _attack_line(run.rows, deltas)
        for step in run.steps:
            yield _attack_line(step, deltas)


def _strength(run: AttackRun) -> tuple[bool, float]:
    """What an attack left over all radii, for sorting; last where nothing is known."""
    left = run.rows["robust_accuracy"]
    return bool(left.isna().all()), float(left.mean())


def _attack_line(rows: pd.DataFrame, deltas: Sequence[float]) -> list[str]:
    cells = {
        row["delta"]: marked_share(row, _share(row["robust_accuracy"])) for row in rows.to_dict("records")
    }
    return [origin(rows.iloc[0].to_dict()), *(cells.get(delta, MISSING) for delta in deltas)]


def bracket_text(row: Mapping[Any, Any], low: str, high: str) -> str:
    """A share in % between its two ends, marked where samples are unfinished; the upper end alone where nothing is
    certified.

    Args:
        row: A row of the summary.
        low: Name of the column with the certified share.
        high: Name of the column with the share that no attack broke.

    Returns:
        The text.

    >>> bracket_text({"low": 0.25, "high": 0.5, "n_unfinished": 0, "n_evaluated": 4}, "low", "high")
    '25.0…50.0'
    """
    certified = "" if is_missing(row[low]) else f"{_share(row[low])}…"
    return marked_share(row, certified + _share(row[high]))


def _share(value: Any) -> str:
    return percent(value).removesuffix(" %")
