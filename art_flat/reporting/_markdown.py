"""The summary as a Markdown table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..records import ALL_ATTACKS, Records
from ..summaries import summarise
from ..typing import Definition
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
    results: Records, epsilons: Sequence[float] | None = None, definition: Definition = "paper"
) -> str:
    """The summary as Markdown tables, one per model and norm, with notes, failures and findings under them.

    Args:
        results: The records of a run.
        epsilons: Tolerated loss changes in nats; those of the run if None.
        definition: Definition of the relative sharpness κ.

    Returns:
        Text in GitHub's dialect; δ in clip units, κ in nats.

    Raises:
        InputError: If an ε is negative.
        UnknownNameError: If the definition is unknown.

    >>> from art_flat.testing import example_results
    >>> to_markdown(example_results()).splitlines()[0]
    '**model, Linf**'
    """
    frame = summarise(results, epsilons, definition)
    parts = [f"**{_escaped(line)}**" for line in [*missing_lines(results), *not_run_lines(results)]]
    parts += _listed(error_lines(results))
    if frame.empty:
        return "\n\n".join([*parts, "No attack was recorded."]) + "\n"
    levels = [c for c in frame.columns if c.startswith("loss_change_robustness@")]
    targeted = is_targeted(frame)
    titles = ["attack", *(" ".join(t.split()) for t in column_titles(levels, targeted))]
    for (model, norm), part in frame.groupby(["model", "norm"], sort=False):
        rows = []
        for row in part.to_dict("records"):
            cells = [_escaped(attack_title(row)), *map(_escaped, row_cells(row, levels, targeted))]
            rows.append([f"**{c}**" for c in cells] if row["attack"] == ALL_ATTACKS else cells)
        parts += [f"**{_escaped(str(model))}, {norm}**", _table(titles, rows)]
    notes = [
        *target_lines(results),
        *summary_notes(frame),
        f"κ: median relative sharpness ({definition}, nats).",
    ]
    parts.append("\n".join(f"- {_escaped(note)}" for note in notes))
    parts += [*_listed(failure_lines(results)), *_listed(finding_lines(results))]
    return "\n\n".join(parts) + "\n"


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
