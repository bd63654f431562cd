"""A limit on the threads of torch and NumPy in a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import threadpoolctl
import torch


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch and the linear algebra of NumPy use `n` threads inside the block.

    Args:
        n: At least 1.

    Yields:
        None
    """
    before = torch.get_num_threads()
    with threadpoolctl.threadpool_limits(n):
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)
