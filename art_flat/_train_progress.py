"""How a training shows itself in a terminal, and how Ctrl-C waits for the end of a step."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich import progress as rp
from rich.console import Console

Step = Callable[[int, int, float], None]
SAY_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


@contextlib.contextmanager
def training_progress(console: Console) -> Iterator[tuple[Step, Callable[[str], None]]]:
    """A bar with the loss on a terminal; elsewhere a line twice a minute.

    Yields:
        What to call after a step, and what to call with a line to be shown.
    """
    if not console.is_terminal:
        began = said = time.monotonic()

        def line(step: int, total: int, loss: float) -> None:
            nonlocal said
            if (now := time.monotonic()) - said >= SAY_EVERY:
                said = now
                console.print(f"{step}/{total} steps, loss {loss:.3f}, {now - began:.0f} s", highlight=False)

        yield line, lambda text: console.print(text, soft_wrap=True, highlight=False)
        return
    columns = (
        rp.TextColumn("training"), rp.BarColumn(), rp.MofNCompleteColumn(), rp.TimeElapsedColumn(),
        rp.TimeRemainingColumn(), rp.TextColumn("{task.fields[loss]}"),
    )  # fmt: skip
    with rp.Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("training", total=None, loss="")

        def update(step: int, total: int, loss: float) -> None:
            bar.update(task, total=total, completed=step, loss=f"loss {loss:.3f}")

        yield update, lambda text: bar.console.print(text, soft_wrap=True, highlight=False)


@contextlib.contextmanager
def stopping_between_steps(progress: Step) -> Iterator[Step]:
    """The first Ctrl-C ends the training after the step under way, the second at once.

    Yields:
        `progress`, which raises KeyboardInterrupt once Ctrl-C was pressed.
    """
    if threading.current_thread() is not threading.main_thread():  # only it gets signals
        yield progress
        return
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def press(*_: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    def step(done: int, total: int, loss: float) -> None:
        progress(done, total, loss)
        if pressed.is_set():
            raise KeyboardInterrupt

    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, press)
    try:
        yield step
    finally:
        signal.signal(signal.SIGINT, before)
