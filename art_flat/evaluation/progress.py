"""Progress of long runs: a bar on a terminal, periodic lines elsewhere, both with the remaining time."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .._utils.formatting import clock_time, counted, norm_sign, radius_text
from ..errors import InputError
from .grid import Unit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

Notify = Callable[[str], None]

LOG_INTERVAL_SECONDS = 30.0
"""Seconds between two lines without a terminal."""


class Update(Protocol):
    """Callback for the progress of some work."""

    def __call__(self, done: int, total: int, remark: str, *, restart: bool = False) -> None:
        """Report that `done` of `total` are finished; with `restart`, earlier progress does not count for the pace."""


@contextlib.contextmanager
def progress_display(console: Console, title: str, unit: str) -> Iterator[tuple[Update, Notify]]:
    """Show the progress of some work.

    Args:
        console: Output; a terminal gets a bar, anything else lines.
        title: Title of the work, before the bar.
        unit: Name of the counted items, in the plural.

    Yields:
        A callback for the progress, and one for messages.
    """
    bar = _rich_progress(console, title, unit)
    task = bar.add_task(title, total=None, remark="", start=False)
    log = _log_lines(bar, task, unit)

    def update(done: int, total: int, remark: str, *, restart: bool = False) -> None:
        if restart or not bar.tasks[0].started:
            bar.reset(task, total=total, completed=done, remark=remark)
        else:
            bar.update(task, total=total, completed=done, remark=remark)
        if not console.is_terminal:
            log()

    with bar if console.is_terminal else contextlib.nullcontext():
        yield update, lambda text: console.print(text, soft_wrap=True, highlight=False)


@contextlib.contextmanager
def run_progress(console: Console) -> Iterator[tuple[Callable[[Progress], None], Notify]]:
    """Show an evaluation: finished and total units, the current attack, failures and the remaining time.

    Args:
        console: Output.

    Yields:
        The `progress` callback of `evaluate`, and a callback for messages.
    """
    recorded = 0
    with progress_display(console, "attacking", "units") as (update, notify):

        def show(state: Progress) -> None:
            nonlocal recorded
            restart = (bool(state.note) and not state.done) or state.recorded > recorded
            recorded = state.recorded
            update(state.done, state.total, _remark(state), restart=restart)

        yield show, notify


@contextlib.contextmanager
def progress_callback(progress: Any) -> Iterator[Callable[[Progress], None] | None]:
    """The `progress` argument of `evaluate` as a callback.

    Args:
        progress: A callback; True for a display in the notebook or on standard error; False for nothing; None for a
            display in a notebook and on a terminal, and nothing elsewhere.

    Yields:
        The callback, or None.

    Raises:
        InputError: If `progress` is none of these.
    """
    if progress is None:
        progress = in_notebook() or sys.stderr.isatty()
    if progress is True and in_notebook():
        with _notebook_progress() as show:
            yield show
    elif progress is True:
        from rich.console import Console

        with run_progress(Console(stderr=True)) as (notify, _):
            yield notify
    elif progress is False:
        yield None
    elif callable(progress):
        yield progress
    else:
        raise InputError(f"`progress` must be a function, True or False, got {progress!r}")


def in_notebook() -> bool:
    """Whether the process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def _notebook_progress() -> Iterator[Callable[[Progress], None]]:
    """A bar under the cell, which a line with the time replaces at the end."""
    from IPython.display import HTML, display

    handle, began, total = display(HTML(""), display_id=True), time.monotonic(), 0

    def show(state: Progress) -> None:
        nonlocal total
        total = state.total
        text = f"{state.done} of {counted(state.total, 'unit')}{', ' if _remark(state) else ''}{escape(_remark(state))}"
        handle.update(HTML(f'<progress value="{state.done}" max="{max(state.total, 1)}"></progress> {text}'))

    try:
        yield show
    finally:
        handle.update(HTML(f"{counted(total, 'unit')}, {clock_time(time.monotonic() - began)}"))


def _remark(state: Progress) -> str:
    if state.note:
        return state.note
    parts = [f"{state.failed} failed"] if state.failed else []
    unit = state.current or state.unit
    if unit is not None:
        radius = "" if unit.delta is None else f" {radius_text(unit.delta)}"
        parts.append(
            f"{unit.attack.info.name} {norm_sign(unit.norm)}{radius}{'' if state.current else ' done'}"
        )
    return ", ".join(parts)


def _rich_progress(console: Console, title: str, unit: str) -> RichProgress:
    """A bar with the remaining time, estimated from the average pace."""
    from rich import progress as rp
    from rich.table import Column
    from rich.text import Text

    class Remark(rp.ProgressColumn):
        """The column that is shortened first on a narrow terminal."""

        def render(self, task: rp.Task) -> Text:
            return Text(task.fields["remark"], no_wrap=True, overflow="ellipsis")

    return rp.Progress(
        rp.TextColumn(title),
        rp.BarColumn(bar_width=None),
        rp.MofNCompleteColumn(table_column=Column(no_wrap=True)),
        rp.TextColumn(unit),
        rp.TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        rp.TextColumn("left"),
        Remark(table_column=Column()),
        console=console,
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=math.inf,
        disable=not console.is_terminal,
    )


def _log_lines(bar: RichProgress, task: TaskID, unit: str) -> Callable[[], None]:
    """Print a line at the start, with the first remark, at the end, and at intervals between."""
    began = bar.get_time()
    logged = -math.inf
    has_remark = False

    def log() -> None:
        nonlocal logged, has_remark
        state, now = bar.tasks[task], bar.get_time()
        remark = state.fields["remark"]
        is_first_remark = bool(remark) and not has_remark
        if now - logged < LOG_INTERVAL_SECONDS and not state.finished and not is_first_remark:
            return
        logged, has_remark = now, has_remark or bool(remark)
        remaining = None if state.finished else state.time_remaining
        parts = [f"{state.description}: {state.completed:.0f}/{state.total:.0f} {unit}", remark]
        parts += [f"{clock_time(now - began)} gone"] + (
            [] if remaining is None else [f"about {clock_time(remaining)} left"]
        )
        bar.console.print(", ".join(filter(None, parts)), highlight=False, markup=False, soft_wrap=True)

    return log


class Progress(NamedTuple):
    """State of a run; passed to the `progress` callback before the first unit, and when a unit starts or finishes."""

    done: int
    total: int
    failed: int
    unit: Unit | None
    """The unit that was just finished, or None."""
    current: Unit | None = None
    """The unit that starts now, or None; unknown for units computed by workers."""
    note: str = ""
    """What is being done beside attacks: preparations before the first unit, and certificates."""
    recorded: int = 0
    """Number of finished units that were read from the results folder instead of computed."""
