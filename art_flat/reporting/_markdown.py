"""The summary as a Markdown table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pandas as pd

from .._utils.formatting import norm_sign
from ..records import ALL_ATTACKS, Records
from ..summaries import summarise
from ..typing import Definition
from .attack_names import with_short_names
from .compact import compact_notes, compact_tables
from .text import (
    attack_title,
    column_titles,
    error_lines,
    failure_lines,
    finding_lines,
    is_targeted,
    missing_lines,
    not_run_lines,
    row_cells,
    summary_notes,
    target_lines,
)


def to_markdown(
    results: Records,
    epsilons: Sequence[float] | None = None,
    definition: Definition = "paper",
    *,
    wide: bool = False,
) -> str:
    """The summary as Markdown tables, one per model and norm, with notes, failures and findings under them.

    Args:
        results: The records of a run.
        epsilons: Tolerated loss changes in nats; those of the run if None.
        definition: Definition of the relative sharpness κ.
        wide: Whether to show every quantity of every attack at every radius, with the attacks' full names.

    Returns:
        Text in GitHub's dialect; δ in clip units, κ in nats.

    Raises:
        InputError: If an ε is negative.
        UnknownNameError: If the definition is unknown.

    >>> from art_flat.testing import example_results
    >>> to_markdown(example_results()).splitlines()[0]
    '**model, L∞: 4 samples, accuracy 100.0 %**'
    """
    frame = summarise(results, epsilons, definition)
    parts = [f"**{_escaped(line)}**" for line in [*missing_lines(results), *not_run_lines(results)]]
    parts += _listed(error_lines(results))
    if frame.empty:
        return "\n\n".join([*parts, "No attack was recorded."]) + "\n"
    parts += _wide_tables(frame) if wide else _compact_tables(with_short_names(frame, results), definition)
    kappa = f"κ: median relative sharpness ({definition}, nats)."
    notes = [*target_lines(results), *(summary_notes(frame) if wide else compact_notes(frame)), kappa]
    parts.append("\n".join(f"- {_escaped(note)}" for note in notes))
    parts += [*_listed(failure_lines(results)), *_listed(finding_lines(results))]
    return "\n\n".join(parts) + "\n"


def _wide_tables(frame: pd.DataFrame) -> Iterator[str]:
    levels = [c for c in frame.columns if c.startswith("loss_change_robustness@")]
    targeted = is_targeted(frame)
    titles = ["attack", *(" ".join(t.split()) for t in column_titles(levels, targeted))]
    for (model, norm), part in frame.groupby(["model", "norm"], sort=False):
        rows = []
        for row in part.to_dict("records"):
            cells = [_escaped(attack_title(row)), *map(_escaped, row_cells(row, levels, targeted))]
            rows.append([f"**{c}**" for c in cells] if row["attack"] == ALL_ATTACKS else cells)
        yield f"**{_escaped(str(model))}, {norm_sign(str(norm))}**"
        yield _table(titles, rows)


def _compact_tables(frame: pd.DataFrame, definition: str) -> Iterator[str]:
    for table in compact_tables(frame, definition):
        rows = []
        for section in table.sections:
            rows.append([f"**{_escaped(section.heading)}**", *([""] * len(table.radii))])
            rows += [[_escaped(cell) for cell in line] for line in section.lines]
        yield f"**{_escaped(table.title)}**"
        yield _table(["", *table.radii], rows)
        yield _escaped(table.caption)


def _listed(lines: Sequence[str]) -> list[str]:
    """The first line with the remaining lines as a nested list; empty without lines."""
    if not lines:
        return []
    head, *points = lines
    return ["\n".join([f"- {_escaped(head)}", *(f"  - {_escaped(line.strip())}" for line in points)])]


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(titles), line(rule), *map(line, rows)])


def _escaped(text: str) -> str:
    """Text escaped for Markdown and its tables, on one line."""
    return re.sub(r"([\\`*_\[\]<>|&~$#])", r"\\\1", " ".join(text.split()))
