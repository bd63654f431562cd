"""Rich tables and lines printed by the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from .._utils.formatting import count, counted, duration, norm_sign, size
from ..attacks import AttackInfo
from ..attacks.registry import OPTIONAL, absent_libraries
from ..evaluation import ALL_ATTACKS, Plan
from ..evaluation.planning import CLEAN_PASS
from ..reporting.compact import compact_tables
from ..reporting.text import attack_title, column_titles, is_targeted, row_cells

_LABEL_WIDTH, _CELL_WIDTH = 30, 15
"""Columns of a terminal for the titles of the lines, and for a cell such as 100.0…100.0‡ with its margin."""


def summary_tables(frame: pd.DataFrame, definition: str, width: int) -> Iterator[Table]:
    """The summary in its short form, one table per model and norm.

    Args:
        frame: From `Results.summary`, with short names.
        definition: Definition of the relative sharpness κ.
        width: Columns of the terminal; radii that do not fit continue in a further table.

    Yields:
        The tables.
    """
    for content in compact_tables(frame, definition, max(1, (width - _LABEL_WIDTH) // _CELL_WIDTH)):
        table = Table(
            title=escape(content.title), title_justify="left", title_style="bold", box=SIMPLE_HEAD,
            caption=escape(content.caption), caption_justify="left", pad_edge=False,
        )  # fmt: skip
        table.add_column("", overflow="fold")
        for radius in content.radii:
            table.add_column(radius, justify="right", no_wrap=True)
        space = width - _CELL_WIDTH * len(content.radii) - 4
        for section in content.sections:
            table.add_row(f"[bold]{escape(section.heading)}[/bold]")
            for title, *cells in section.lines:
                table.add_row("  " + escape(breakable(title, space)), *cells)
            table.add_section()
        yield table


def breakable(name: str, width: int) -> str:
    """The name of an attack with a space before its parameters if it is longer than a line, so that it breaks there.

    Returns:
        The name.

    >>> breakable("art:DeepFool(max_iter=20)", 20)
    'art:DeepFool (max_iter=20)'
    """
    return name if len(name) <= width else name.replace("(", " (", 1)


def wide_summary_tables(frame: pd.DataFrame, definition: str) -> Iterator[Table]:
    """Every quantity of every attack and radius, one table per model and norm.

    Args:
        frame: From `Results.summary`.
        definition: Definition of the relative sharpness κ.

    Yields:
        The tables.
    """
    levels = [c for c in frame.columns if c.startswith("loss_change_robustness@")]
    targeted = is_targeted(frame)
    for (model, norm), part in frame.groupby(["model", "norm"], sort=False):
        table = Table(
            title=f"{escape(str(model))}, {norm_sign(str(norm))}", title_justify="left", title_style="bold"
        )
        table.add_column("attack", overflow="fold")
        headers = column_titles(levels, targeted)
        for header in headers:
            table.add_column(header, justify="right", no_wrap=True)
        previous = None
        for row in part.to_dict("records"):
            if previous is not None and row["attack"] != previous:
                table.add_section()
            name = escape(attack_title(row))
            cells = row_cells(row, levels, targeted)
            style = "bold" if row["attack"] == ALL_ATTACKS else None
            table.add_row(name if row["attack"] != previous else "", *cells, style=style)
            previous = row["attack"]
        table.caption = f"κ: median relative sharpness ({definition}, nats)"
        yield table


def plan_table(plan: Plan) -> Table:
    """Estimated cost of a run, per model and attack."""
    table = Table()
    table.add_column("attack", overflow="fold")
    for header in ("units", "forward\npasses", "backward\npasses", "time on\none worker", "disk"):
        table.add_column(header, justify="right", no_wrap=True)
    for model, part in plan.table().groupby("model", sort=False):
        table.add_section()
        table.add_row(f"[bold]{escape(str(model))}[/bold]")
        for row in part.to_dict("records"):
            passes = (count(row["forwards"]), count(row["backwards"]))
            cost = (duration(row["seconds"]), size(row["bytes"]))
            table.add_row(escape(row["attack"]), str(row["units"]), *passes, *cost)
    return table


def plan_lines(plan: Plan, workers: Iterable[int]) -> list[str]:
    """The totals of a plan, on one worker and on several; the units are those that a run counts."""
    units = plan.units
    n_units = int((units["attack"] != CLEAN_PASS).sum())
    forwards, backwards = count(units["forwards"].sum()), count(units["backwards"].sum())
    total = (
        f"{counted(n_units, 'unit')}, {forwards} forward and {backwards} backward passes, "
        f"{size(units['bytes'].sum())}"
    )
    times = ", ".join(f"{duration(plan.seconds(n))} on {n}" for n in dict.fromkeys(workers))
    return [
        f"total: {total} on disk",
        f"time, with workers as fast as this one: {times}",
        f"memory of a worker: {size(plan.peak_bytes)} while probing; probed for {duration(plan.probe_seconds)}",
    ]


def attack_table(infos: Iterable[AttackInfo]) -> Table:
    """Every attack with its norms, requirements and usability in this installation."""
    table = Table()
    table.add_column("attack", no_wrap=True)
    for header in ("norms", "access", "budget", "seeks\nmax. loss", "targeted", "usable"):
        table.add_column(header)
    table.add_column("reason", overflow="fold", ratio=1)
    for info in infos:
        table.add_row(
            escape(info.name), " ".join(info.norms), info.access, info.budget,
            "yes" if info.maximises_loss else "", "yes" if info.targeted else "", info.usability, escape(info.reason),
        )  # fmt: skip
    absent = [f"{name} ({OPTIONAL[name][1]})" for name in absent_libraries()]
    if absent:
        table.caption = escape(f"not installed, so not listed: {', '.join(absent)}")
    return table


def attack_details(info: AttackInfo) -> str:
    """The registry entry of one attack, as text."""
    lines: list[tuple[str, Any]] = [
        ("norms", ", ".join(info.norms)),
        ("access", info.access),
        ("budget", info.budget),
        ("maximises the loss", "yes" if info.maximises_loss else "no"),
        ("takes a target", "yes" if info.targeted else "no"),
        ("usable here", info.usability + (f": {info.reason}" if info.reason else "")),
        ("library version", info.version or "unknown"),
        ("parameters", ", ".join(f"{k}={v!r}" for k, v in info.defaults.items()) or "none"),
    ]
    text = [f"[bold]{escape(info.name)}[/bold]", *(f"  {k}: {escape(str(v))}" for k, v in lines)]
    return "\n".join(text + [f"  note: {escape(n)}" for n in info.notes])
