"""A time limit on calls into third-party code."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections.abc import Iterator

RETRY_SECONDS = 1.0
"""Seconds between two interruptions of code that catches the first."""


class TimeUpError(BaseException):
    """The time limit is exceeded; a `BaseException`, so that `except Exception` does not catch it."""


class _Limit(threading.local):
    seconds: float | None = None


_limit = _Limit()


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Limit the time of `interruptible` code inside the block, in this thread; None for no limit.

    Args:
        seconds: The limit in seconds, > 0.

    Yields:
        None
    """
    before, _limit.seconds = _limit.seconds, seconds
    try:
        yield
    finally:
        _limit.seconds = before


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise `TimeUpError` inside the block once the limit of `time_limit` is exceeded, and every second after.

    In the main thread a signal also interrupts waiting and sleeping. In other threads, and where the timer is in use,
    code is interrupted at its next line of Python. Neither can interrupt a library that never returns to
    Python; its process must be ended.

    Yields:
        None
    """
    if _limit.seconds is None:
        yield
        return
    main = threading.current_thread() is threading.main_thread()
    usable = main and hasattr(signal, "setitimer") and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with _by_signal(_limit.seconds) if usable else _by_thread(_limit.seconds):
        yield


@contextlib.contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    armed = True

    def on_alarm(*_: object) -> None:
        if armed:
            raise TimeUpError

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, RETRY_SECONDS)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _by_thread(seconds: float) -> Iterator[None]:
    # of Python's documented C interface, which has the one way to raise an exception in another thread
    target = ctypes.c_ulong(threading.get_ident())
    done, lock = threading.Event(), threading.Lock()

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            with lock:
                if not done.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(TimeUpError))
            wait = RETRY_SECONDS

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        with lock:  # cancel an exception that was set and not yet raised
            ctypes.pythonapi.PyThreadState_SetAsyncExc(target, None)
