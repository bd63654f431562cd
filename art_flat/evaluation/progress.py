"""How long work shows itself: a bar on a terminal, now and then a line elsewhere, with the time left in both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from .grid import Unit
from .settings import DEFAULT_EPSILONS as DEFAULT_EPSILONS

if TYPE_CHECKING:
    from rich.console import Console


Say = Callable[[str], None]
Update = Callable[..., None]

SAY_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""

FOUND_WITHIN = 0.02
"""Seconds: units at the start of a run that come faster were found in its folder and say nothing of the pace."""


class Pace:
    """The time left, if every unit takes as long as the units done so far in the mean.

    Args:
        found_within: Units that take less than this many seconds do not count until a slower one has come.
        clock: Seconds since some fixed moment.

    Examples:
        >>> now = iter([0.0, 10.0, 20.0, 21.0])
        >>> pace = Pace(clock=lambda: next(now))
        >>> pace.tick(0), pace.tick(1), pace.tick(2)
        (None, None, None)
        >>> pace.left(5)  # three units of 10 s, one second of the first gone
        29.0
    """

    def __init__(self, found_within: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._found_within, self._clock = found_within, clock
        self._start: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None

    def tick(self, done: int) -> None:
        """Note that `done` units are done now; the first call says where the work begins."""
        now = self._clock()
        slow = self._last is not None and now - self._last[0] >= self._found_within
        if self._start is None and slow:
            self._start = self._last
        self._last = (now, done)

    def left(self, total: int) -> float | None:
        """Seconds until `total` units are done, at least 0; None as long as nothing can be said."""
        if self._start is None or self._last is None or self._last[1] <= self._start[1]:
            return None
        each = (self._last[0] - self._start[0]) / (self._last[1] - self._start[1])
        return max(0.0, each * (total - self._last[1]) - (self._clock() - self._last[0]))


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as in `'1:02:05'` and `'1:00'`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def shown(console: Console, title: str, unit: str, found_within: float = 0.0) -> Iterator[tuple[Update, Say]]:
    """Show how far some work is.

    Args:
        console: Where to; whether it is a terminal decides the form.
        title: What is being done, before the bar.
        unit: What is counted, in the plural.
        found_within: See `Pace`.

    Yields:
        What to call with the number done, the total, a remark, and False while the work is only prepared; and what to
        call with a line to be shown.
    """
    pace = Pace(found_within)
    show = _bar if console.is_terminal else _lines
    with show(console, title, unit, pace) as update:

        def tick(done: int, total: int, remark: str, begun: bool = True) -> None:
            if begun:
                pace.tick(done)
            update(done, total, remark)

        yield tick, lambda text: console.print(text, soft_wrap=True, highlight=False)


@contextlib.contextmanager
def run_progress(console: Console) -> Iterator[tuple[Callable[[Progress], None], Say]]:
    """Show an evaluation: units done and in all, the attack under way, failures so far, the time left.

    Args:
        console: Where to.

    Yields:
        The `progress` callback of `evaluate`, and what to call with a line to be shown.
    """
    with shown(console, "attacking", "units", FOUND_WITHIN) as (update, say):
        yield lambda state: update(state.done, state.total, _remark(state), not state.note), say


@contextlib.contextmanager
def progress_callback(progress: Any) -> Iterator[Callable[[Progress], None] | None]:
    """The `progress` argument of `evaluate` as a callback.

    Args:
        progress: A callback; True for a display on standard error; False or None for nothing.

    Yields:
        The callback, or None.

    Raises:
        InputError: If `progress` is something else.
    """
    if progress is True:
        from rich.console import Console

        with run_progress(Console(stderr=True)) as (notify, _):
            yield notify
    elif progress is None or progress is False:
        yield None
    elif callable(progress):
        yield progress
    else:
        raise InputError(f"`progress` must be a function, True or False, got {progress!r}")


def _remark(state: Progress) -> str:
    if state.note:
        return state.note
    parts = [f"{state.failed} failed"] if state.failed else []
    unit = state.current or state.unit
    if unit is not None:
        radius = "" if unit.delta is None else f" {unit.delta:.4g}"
        parts.append(f"{unit.attack.info.name} {unit.norm}{radius}{'' if state.current else ' done'}")
    return ", ".join(parts)


@contextlib.contextmanager
def _lines(console: Console, title: str, unit: str, pace: Pace) -> Iterator[Update]:
    """A line at the beginning, with the first remark, at the end, and at most one every `SAY_EVERY` seconds between."""
    began = time.monotonic()
    said: float | None = None
    remarked = False

    def update(done: int, total: int, remark: str) -> None:
        nonlocal said, remarked
        now = time.monotonic()
        early = said is not None and now - said < SAY_EVERY
        if early and done < total and (remarked or not remark):
            return
        said, remarked = now, remarked or bool(remark)
        left = pace.left(total) if done < total else None
        parts = [f"{title}: {done}/{total} {unit}", remark, f"{duration(now - began)} gone"]
        parts += [] if left is None else [f"about {duration(left)} left"]
        console.print(", ".join(p for p in parts if p), highlight=False, markup=False, soft_wrap=True)

    yield update


@contextlib.contextmanager
def _bar(console: Console, title: str, unit: str, pace: Pace) -> Iterator[Update]:
    from rich import progress as rp
    from rich.table import Column
    from rich.text import Text

    class Left(rp.ProgressColumn):
        """Counts down between two units, which Rich's own column does not."""

        def render(self, task: rp.Task) -> Text:
            left = pace.left(int(task.total)) if task.total is not None else None
            return Text("" if left is None or task.finished else f"{duration(left)} left", style="cyan")

    class Remark(rp.ProgressColumn):
        """Shortened on a narrow terminal, before anything else is."""

        def render(self, task: rp.Task) -> Text:
            return Text(task.fields["remark"], no_wrap=True, overflow="ellipsis")

    whole = Column(no_wrap=True)
    columns = (
        rp.TextColumn(title), rp.BarColumn(bar_width=None), rp.MofNCompleteColumn(table_column=whole),
        rp.TextColumn(unit), Left(table_column=whole.copy()), Remark(table_column=Column()),
    )  # fmt: skip
    with rp.Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(title, total=None, remark="")

        def update(done: int, total: int, remark: str) -> None:
            bar.update(task, total=total, completed=done, remark=remark)

        yield update


class Progress(NamedTuple):
    """Where a run is; given to the `progress` callback before the first unit, and when one begins or is done."""

    done: int
    total: int
    failed: int
    unit: Unit | None
    """The unit that was just finished, if one was."""
    current: Unit | None = None
    """The unit that begins now, if one does; which of them workers compute is not told."""
    note: str = ""
    """What is being prepared before the first unit of an attack."""
