"""Settings of the C allocator for the memory that a unit frees."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT, _LARGEST = 2**31 - 1, 2**25  # bytes; blocks above 32 MB cannot be kept


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep up to 2 GiB of freed memory while the block runs; at its end all of it is returned.

    An attack allocates the same activations in every step. With glibc's defaults their memory goes back to the kernel
    each time; zeroing the new pages took up to a third of the time of a small CNN on 500 images. The settings hold for
    the rest of the process, so this is for workers. Without effect on other C libraries.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
    try:
        yield
    finally:
        return_freed_memory()


def return_freed_memory() -> None:
    """Return freed memory to the system, which glibc keeps otherwise in pieces between what is still used."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
