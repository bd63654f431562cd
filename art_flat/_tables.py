"""What the command line shows, as Rich tables and lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

from .attacks import AttackInfo
from .attacks.registry import OPTIONAL, absent_libraries
from .evaluation import ALL_ATTACKS, Plan, Results

_MARK = "†"
_CONSTANTS = {
    "spectral": "Lipschitz constants derived from the layers",
    "given": "a given Lipschitz constant, taken at its word",
}


def summary_table(frame: pd.DataFrame, definition: str) -> Iterator[Table]:
    """One table per model and norm; rows are attacks and δ.

    Args:
        frame: From `Results.summary`.
        definition: Which relative sharpness κ is.

    Yields:
        The tables.
    """
    levels = [c for c in frame.columns if c.startswith("loss_change_robustness@")]
    for (model, norm), part in frame.groupby(["model", "norm"], sort=False):
        table = Table(title=f"{escape(str(model))}, {norm}", title_justify="left", title_style="bold")
        table.add_column("attack", overflow="fold")
        headers = [
            "δ",
            "n",
            "accuracy",
            "robust\naccuracy",
            *(f"Δℓ ≤ {c.split('@')[1]}\nnats" for c in levels),
        ]
        headers += ["κ clean", "κ adv.", "flatter", "confidently\nwrong", "s"]
        for header in headers:
            table.add_column(header, justify="right", no_wrap=True)
        previous = None
        for row in part.to_dict("records"):
            if previous is not None and row["attack"] != previous:
                table.add_section()
            name = escape(row["attack"]) + (_MARK if not row["maximises_loss"] else "")
            if row["source_model"] != model:
                name += f" (found on {escape(str(row['source_model']))})"
            cells = [f"{row['delta']:.4g}", str(row["n_evaluated"])]
            cells += [_percent(row["accuracy"]), _percent(row["robust_accuracy"])]
            cells += [_bracket(row, c) for c in levels]
            cells += [_number(row["kappa_clean"]), _number(row["kappa_adv"])]
            cells += [_percent(row["flat_fraction"]), _percent(row["confidently_wrong_fraction"])]
            style = "bold" if row["attack"] == ALL_ATTACKS else None
            table.add_row(
                name if row["attack"] != previous else "", *cells, f"{row['seconds']:.1f}", style=style
            )
            previous = row["attack"]
        table.caption = f"κ: median relative sharpness ({definition}, nats)"
        yield table


def summary_notes(frame: pd.DataFrame) -> list[str]:
    """The lines under the tables that say how to read them."""
    notes = [
        "Δℓ ≤ ε: share whose loss rises by at most ε (loss-change robustness, an upper estimate); in the last rows "
        "certified share…upper estimate. κ, flatter: over samples that are right when clean and wrong when attacked, "
        "where their loss is largest."
    ]
    for kind in frame["lipschitz_kind"].dropna().unique():
        of = frame["lipschitz_kind"] == kind
        models = escape(", ".join(frame["model"][of].astype(str).unique()))
        notes.append(
            f"certified with {_CONSTANTS[kind]} ({models}), bound: {frame['bound_kind'][of].iloc[0]}."
        )
    if not frame["maximises_loss"].all():
        notes.append(f"{_MARK} does not look for the largest loss: its Δℓ columns say little.")
    return notes


def plan_table(plan: Plan) -> Table:
    """What a run will cost, by model and attack."""
    table = Table()
    table.add_column("attack", overflow="fold")
    for header in ("units", "forward\npasses", "backward\npasses", "time on\none worker", "disk"):
        table.add_column(header, justify="right", no_wrap=True)
    for model, part in plan.table().groupby("model", sort=False):
        table.add_section()
        table.add_row(f"[bold]{escape(str(model))}[/bold]")
        for row in part.to_dict("records"):
            passes = (_count(row["forwards"]), _count(row["backwards"]))
            cost = (_duration(row["seconds"]), _size(row["bytes"]))
            table.add_row(escape(row["attack"]), str(row["units"]), *passes, *cost)
    return table


def plan_lines(plan: Plan, workers: Iterable[int]) -> list[str]:
    """The totals of a plan, on one worker and on several."""
    units = plan.units
    forwards, backwards = _count(units["forwards"].sum()), _count(units["backwards"].sum())
    total = f"{len(units)} units, {forwards} forward and {backwards} backward passes, {_size(units['bytes'].sum())}"
    times = ", ".join(f"{_duration(plan.seconds(n))} on {n}" for n in dict.fromkeys(workers))
    return [
        f"in all: {total} on the disk",
        f"time, with workers as fast as this one: {times}",
        f"memory of a worker: {_size(plan.peak_bytes)} while probing; probed for {_duration(plan.probe_seconds)}",
    ]


def failure_lines(results: Results) -> list[str]:
    """What failed or was skipped, one line per reason; says how many."""
    failures = results.failures()
    if failures.empty:
        return []
    counts = failures.groupby("status")["n"].sum()
    lines = [
        ", ".join(f"{n} samples {status}" for status, n in counts.items())
        + "; they are left out of the scores:"
    ]
    for row in failures.to_dict("records"):
        radius = "" if math.isnan(row["delta"]) else f", δ = {row['delta']:.4g}"
        lines.append(escape(f"  {row['status']}: {row['attack']}, {row['norm']}{radius}: {row['error']}"))
    return lines


def finding_lines(results: Results) -> list[str]:
    """What a reader should know first, a line per finding; empty if nothing is suspicious."""
    lines = [escape("  " + " ".join(str(finding).split())) for finding in results.findings()]
    return ["findings:", *lines] if lines else []


def attack_table(infos: Iterable[AttackInfo]) -> Table:
    """Every attack with its norms, what it needs, and whether it can be used here."""
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
    absent = [f"{name} ({OPTIONAL[name]})" for name in absent_libraries()]
    if absent:
        table.caption = escape(f"not installed, so not listed: {', '.join(absent)}")
    return table


def attack_details(info: AttackInfo) -> str:
    """All that is known of one attack, as text."""
    lines: list[tuple[str, Any]] = [
        ("norms", ", ".join(info.norms)),
        ("access", info.access),
        ("budget", info.budget),
        ("looks for the largest loss", "yes" if info.maximises_loss else "no"),
        ("takes a target", "yes" if info.targeted else "no"),
        ("usable here", info.usability + (f": {info.reason}" if info.reason else "")),
        ("library version", info.version or "unknown"),
        ("parameters", ", ".join(f"{k}={v!r}" for k, v in info.defaults.items()) or "none"),
    ]
    text = [f"[bold]{escape(info.name)}[/bold]", *(f"  {k}: {escape(str(v))}" for k, v in lines)]
    return "\n".join(text + [f"  note: {escape(n)}" for n in info.notes])


def _count(value: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.0f}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _size(bytes_: float) -> str:
    for size, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if bytes_ >= size:
            return f"{bytes_ / size:.3g} {name}"
    return f"{bytes_ / 1024:.3g} KiB"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def _bracket(row: dict[str, Any], column: str) -> str:
    """The share that no attack broke; for all attacks together with the certified share before it."""
    certified = row[column.replace("loss_change_robustness", "certified")]
    if row["attack"] != ALL_ATTACKS or math.isnan(certified):
        return _percent(row[column])
    return f"{100 * certified:.1f}…{_percent(row[column])}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"
