"""Freed memory, which glibc keeps in pieces between what is still used, goes back to the system."""

from __future__ import annotations

import ctypes
import functools
import platform


def return_freed_memory() -> None:
    """Return freed memory to the system; without effect on C libraries other than glibc.

    A process that runs already cannot get this from environment variables, and Python has no call for it. Without it,
    a run over files larger than memory would hold as much as they hold.
    """
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
