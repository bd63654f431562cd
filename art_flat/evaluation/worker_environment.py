"""Environment variables for worker processes: the C library keeps memory that an attack frees."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

VARIABLES = {"MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""Up to 2 GiB of freed memory stay with the process, in blocks up to 32 MiB."""


@contextlib.contextmanager
def worker_environment() -> Iterator[None]:
    """Set the variables inside the block, where worker processes are started, unless the user has set them.

    An attack allocates the same activations in every step. With glibc's defaults their memory goes back to the kernel
    each time, which zeroes new pages for the next step. Other C libraries have no such variables.

    Yields:
        None
    """
    added = [name for name in VARIABLES if name not in os.environ]
    os.environ.update({name: VARIABLES[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
