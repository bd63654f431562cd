"""Ctrl-C in commands: one line instead of a traceback."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import typer


@contextlib.contextmanager
def sigint_handler(handler: Callable[..., None]) -> Iterator[None]:
    """Handle Ctrl-C by a function in the block; nothing changes outside the main thread or where it is ignored."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def interrupted(message: str) -> Iterator[None]:
    """Ctrl-C in the block ends the command with one line and exit code 130.

    Libraries that are being imported can replace KeyboardInterrupt by errors of their own, such as ImportError: any
    error after Ctrl-C ends the command in the same way.

    Raises:
        Exit: After Ctrl-C.
    """
    pressed = threading.Event()

    def on_sigint(*_: Any) -> None:
        pressed.set()
        raise KeyboardInterrupt

    with sigint_handler(on_sigint):
        try:
            yield
        except BaseException as error:
            if not pressed.is_set() and not isinstance(error, KeyboardInterrupt):
                raise
            sys.stderr.write(f"{message}\n")
            raise typer.Exit(130) from None
