"""Output of the commands: the console, a run with its progress, and its results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from .._utils.formatting import counted

if TYPE_CHECKING:
    from ..evaluation import Results
    from ..typing import Definition
    from .config import RunConfig


def open_console(width: int = 100) -> Console:
    """The console for standard output.

    Args:
        width: Characters of a line of a table in files and pipes.

    Returns:
        The console.
    """
    # bind the stream now, because attacks run with sys.stdout redirected
    stream = sys.stdout
    return Console(file=stream, width=None if stream.isatty() else width)


def print_line(console: Console, text: str) -> None:
    """Print a line of plain text."""
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def run_and_show(
    config: RunConfig, folder: Path, out: Path, console: Console, *, wide: bool = False, **options: Any
) -> Results:
    """Run a configuration with progress, and show its results.

    Args:
        config: The configuration.
        folder: Base folder of its paths.
        out: Results folder.
        console: Output.
        wide: Whether to show the long form of the tables.
        **options: Further arguments of `run_config`.

    Returns:
        The results.
    """
    from ..evaluation.progress import run_progress
    from .run import run_config

    with run_progress(console) as (progress, notify):
        results = run_config(config, folder, out, progress, notify, **options)
    show_results(results, console, wide=wide)
    print_line(console, f"records, summary, configuration and environment: {out}/")
    if not results.missing_units:
        print_line(console, f"report: {results.report(out / 'report.html')}")
    return results


def show_results(
    results: Results,
    console: Console,
    epsilons: list[float] | None = None,
    definition: Definition = "paper",
    *,
    wide: bool = False,
) -> None:
    """Show the tables of a run with errors before and notes below them.

    Args:
        results: The run.
        console: Output.
        epsilons: Tolerated loss changes, nats; those of the run if None.
        definition: Definition of the relative sharpness κ.
        wide: Whether to show every quantity of every attack and radius.
    """
    from ..reporting.attack_names import shortened, with_short_names
    from ..reporting.compact import compact_notes
    from ..reporting.text import (
        error_lines,
        failure_lines,
        finding_lines,
        not_run_lines,
        summary_notes,
        target_lines,
    )
    from .tables import summary_tables, wide_summary_tables

    if results.missing_units:
        print_line(
            console,
            f"missing: {results.missing_units} of {counted(results.total_units, 'unit')}; the "
            "command of the run continues "
            "with them, and `art-flat merge` merges parts",
        )
        return
    frame = results.summary(epsilons, definition)
    short = with_short_names(frame, results)
    lines = [*not_run_lines(results), *error_lines(results)]
    notes = [*(summary_notes(frame) if wide else compact_notes(frame)), *failure_lines(results)]
    for line in lines:
        print_line(console, line if wide else shortened(line, results))
    tables = (
        wide_summary_tables(frame, definition) if wide else summary_tables(short, definition, console.width)
    )
    for table in tables:
        console.print(table)
    for line in [*target_lines(results), *notes, *finding_lines(results)]:
        print_line(console, line if wide else shortened(line, results))
