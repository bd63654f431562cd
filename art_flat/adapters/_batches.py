"""Forward passes in batches that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from .._utils.numbers import check_number
from ..errors import InputError

T = TypeVar("T")


_LARGEST, _SMALLEST = 512, 16
_NUMBERS = 512 * 3 * 64 * 64
"""Input numbers per batch: 512 images of 3×64×64, about 40 of 3×224×224."""
_ALLOCATION_FAILED = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


def default_batch_size(input_shape: Sequence[int]) -> int:
    """A batch size between 16 and 512 that falls with the size of a sample.

    Args:
        input_shape: Shape of one sample.

    Returns:
        Samples per forward pass.

    >>> default_batch_size((1, 28, 28)), default_batch_size((3, 224, 224)), default_batch_size((3, 999, 999))
    (512, 41, 16)
    """
    return min(_LARGEST, max(_SMALLEST, _NUMBERS // max(1, math.prod(input_shape))))


def check_batch_size(batch_size: Any) -> int:
    """Validate a batch size.

    Args:
        batch_size: Samples per forward pass.

    Returns:
        The batch size as an int ≥ 1.

    Raises:
        InputError: If it is invalid.
    """
    number = check_number(batch_size, "batch_size", "samples", at_least=1)
    if number != int(number):
        raise InputError(f"`batch_size` must be a whole number of samples, got {batch_size!r}")
    return int(number)


def map_batches(function: Callable[[slice], T], n: int, size: int, take: Callable[[T], object]) -> int:
    """Apply `function` to consecutive slices of range(n); slices are halved whenever memory runs out.

    Args:
        function: Called with each slice in turn, and again with a shorter one after an allocation failed.
        n: Number of samples.
        size: Initial number of samples per slice.
        take: Called with each result, in order.

    Returns:
        The final size.
    """
    start = 0
    while start < n:
        piece = _unless_memory_runs_out(function, slice(start, min(start + size, n)))
        if piece is None:  # the memory of the failed pass is freed by now
            size = max(1, min(size, n - start) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        else:
            take(piece[0])
            start += size
    return size


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception is an out-of-memory error of any device.

    Returns:
        True if it is.

    >>> ran_out_of_memory(RuntimeError("MPS backend out of memory")), ran_out_of_memory(RuntimeError("bad shape"))
    (True, False)
    """
    is_allocation_error = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return is_allocation_error or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATION_FAILED)
    )


def _unless_memory_runs_out(function: Callable[[slice], T], rows: slice) -> tuple[T] | None:
    try:
        return (function(rows),)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        if rows.stop - rows.start == 1:
            error.add_note(
                "art_flat: memory ran out with a single sample; free memory on the device, "
                "or use a smaller model, input or dtype"
            )
            raise
        return None


class Results:
    """Collects the results of each batch on the target device.

    Results are written into columns of n rows. Results on another device stay there until there are many: a copy to the
    host synchronises with all earlier batches.

    Args:
        home: The target device.
        n: Total number of rows.
        carried_bytes: Bytes of results on another device that trigger a copy.
    """

    def __init__(self, home: torch.device, n: int, carried_bytes: int = 1 << 26) -> None:
        self._home, self._n, self._rows, self._carried_bytes = home, n, 0, carried_bytes
        self._columns: list[Tensor] = []
        self._waiting: list[Sequence[Tensor]] = []
        self._size = 0

    def add(self, columns: Sequence[Tensor]) -> None:
        """Add the results of the next batch.

        Args:
            columns: Tensors of m rows each.
        """
        self._waiting.append(columns)
        self._size += sum(t.numel() * t.element_size() for t in columns)
        if self._size > self._carried_bytes or columns[0].device == self._home:
            self._carry()

    def columns(self) -> list[Tensor]:
        """All results.

        Returns:
            Tensors of n rows each, on the target device.
        """
        self._carry()
        return self._columns

    def _carry(self) -> None:
        if not self._waiting:
            return
        parts = [
            column[0] if len(column) == 1 else torch.cat(column)
            for column in zip(*self._waiting, strict=True)
        ]
        self._waiting, self._size = [], 0
        start, self._rows = self._rows, self._rows + len(parts[0])
        if len(parts[0]) == self._n:
            self._columns = [part.to(self._home) for part in parts]
            return
        if not self._columns:
            self._columns = [
                torch.empty((self._n, *part.shape[1:]), dtype=part.dtype, device=self._home) for part in parts
            ]
        for column, part in zip(self._columns, parts, strict=True):
            column[start : self._rows] = part
