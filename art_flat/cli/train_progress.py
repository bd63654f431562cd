"""Progress display of a training, and Ctrl-C handling that waits for the end of a step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console

from ..evaluation.progress import Notify, progress_display
from .interrupts import sigint_handler

Step = Callable[[int, int, float], None]


@contextlib.contextmanager
def training_progress(console: Console) -> Iterator[tuple[Step, Notify]]:
    """A progress bar with the loss on a terminal; elsewhere a line twice a minute.

    Yields:
        The callback after a step, and the callback for messages.
    """
    with progress_display(console, "training", "steps") as (update, notify):
        yield lambda step, total, loss: update(step, total, f"loss {loss:.3f}"), notify


@contextlib.contextmanager
def stopping_between_steps(progress: Step) -> Iterator[Step]:
    """The first Ctrl-C ends the training after the current step, the second at once.

    Yields:
        `progress`, which raises KeyboardInterrupt after Ctrl-C.
    """
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def on_sigint(*_: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    def step(done: int, total: int, loss: float) -> None:
        progress(done, total, loss)
        if pressed.is_set():
            raise KeyboardInterrupt

    with sigint_handler(on_sigint):
        yield step
