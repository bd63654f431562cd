"""Scheduling of the missing units of a run, in this process or in workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from ..records.memory import MemoryStore
from ..records.store import Store
from .executor import Report, Workers
from .finishing import finish, has_failed
from .grid import AnyUnit, CertificateUnit, CleanUnit, Grid, Unit
from .progress import Progress
from .run import Run
from .worker import Worker, WorkerContext


class Began(Protocol):
    """Callback when a unit starts, and with progress messages within it."""

    def __call__(self, unit: AnyUnit, text: str = "", /) -> None:
        """Report the unit and its progress."""


Compute = Callable[[Iterable[AnyUnit], Report, Began], None]


@contextlib.contextmanager
def computing(
    run: Run, store: Store | MemoryStore, context: WorkerContext, remote: bool
) -> Iterator[Compute]:
    """A function that computes units: in this process, or in workers."""
    if remote and isinstance(store, Store):
        with Workers(store, run.nets, run.data, context) as workers:
            yield lambda units, report, began: workers.compute(list(units), report)
        return
    worker = Worker(run.nets, run.data, context)

    def compute(units: Iterable[AnyUnit], report: Report, began: Began) -> None:
        for unit in units:
            began(unit)
            worker.notify = partial(began, unit)
            failed = finish(worker, unit, store)
            report(unit, failed)

    yield compute


_TABLES = {Unit: ("adversarial",), CertificateUnit: ("certified",), CleanUnit: ("clean", "certified")}
"""Tables of each kind of unit."""


def missing_units(
    units: Sequence[AnyUnit], store: Store | MemoryStore, keep: bool, notify_recorded: Report | None = None
) -> Iterator[AnyUnit]:
    """Units that are not computed yet, checked one by one when reached; failed ones are computed again."""
    for unit in units:
        tables = _TABLES[type(unit)]
        frames = {t: f for t in tables if (f := store.finished(t, unit.key)) is not None}
        whole = len(frames) == len(tables) and not has_failed(frames)
        if whole and keep and isinstance(unit, Unit) and not store.finished_points(unit.key):
            whole = bool(
                (frames["adversarial"]["status"] == "skipped").all()
            )  # a skipped attack has no points
        if not whole:
            yield unit
        elif notify_recorded is not None:
            notify_recorded(unit, False)


def compute_after_clean(
    grid: Grid,
    store: Store | MemoryStore,
    keep: bool,
    compute: Compute,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Compute the units of attacks and certificates, each after those it depends on."""
    done = failures = recorded = 0
    total = len(grid.after_clean)

    def report(unit: AnyUnit, failed: bool) -> None:
        nonlocal done, failures
        done, failures = done + 1, failures + failed
        notify_progress(unit, None)

    def report_recorded(unit: AnyUnit, failed: bool) -> None:
        nonlocal recorded
        recorded += 1
        report(unit, failed)

    def notify_progress(finished: AnyUnit | None, begins: AnyUnit | None, text: str = "") -> None:
        if progress is not None:
            unit, current = (u if isinstance(u, Unit) else None for u in (finished, begins))
            note = text or next((str(u) for u in (begins, finished) if isinstance(u, CertificateUnit)), "")
            progress(Progress(done, total, failures, unit, current, note, recorded))

    notify_progress(None, None)
    for level in grid.levels():
        compute(missing_units(level, store, keep, report_recorded), report, partial(notify_progress, None))
