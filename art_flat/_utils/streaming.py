"""Inputs that are read shard by shard, so that only one shard is in memory."""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .arrays import to_numpy, to_tensor
from .foreign_arrays import torch_dtype_safe

_CHUNK_BYTES = 1 << 22
"""Bytes read at once when all samples are read."""


class InputRows:
    """Samples by row, from an array, a file mapped into memory, or anything with `shape`, `dtype` and slices.

    Args:
        source: Samples, shape (n, ...): copied as a whole only if it is neither an array nor sliceable.
        name: Name of the argument, for errors.

    Attributes:
        shape: (n, ...).
        dtype: Floating type of the rows; float32 where the source holds integers.
        ndim: Number of axes.
    """

    def __init__(self, source: Any, name: str = "x") -> None:
        self._source = (
            source if _is_sliceable(source) else to_numpy(to_tensor(source, read_only=True, name=name))
        )
        self.shape = tuple(int(s) for s in self._source.shape)
        self.ndim = len(self.shape)
        stored = np.dtype(self._source.dtype)
        self.dtype = torch_dtype_safe(np.empty(0, stored)).dtype.newbyteorder("=")
        if self.dtype.kind != "f":
            self.dtype = np.dtype(np.float32)
        mapped = _mapping(self._source)
        self._release: Callable[[], object] = (lambda: None) if mapped is None else _page_release(mapped)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes that all rows would take in memory."""
        return self.dtype.itemsize * math.prod(self.shape)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Some rows, in memory; pages of a mapped file that were read for them are released.

        Args:
            rows: Positions of the rows.

        Returns:
            Contiguous rows of `dtype`, a copy wherever the source is not an array in memory.
        """
        piece = np.array(self._source[rows], dtype=self.dtype, order="C")
        self._release()
        return piece

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def pieces(self, rows: slice) -> Iterator[np.ndarray]:
        """Some rows, a few megabytes at a time."""
        step = max(1, _CHUNK_BYTES * len(self) // max(1, self.nbytes))
        for start in range(rows.start, rows.stop, step):
            yield self[start : min(start + step, rows.stop)]

    def save(self, path: Path) -> None:
        """Write all rows as an .npy file."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": self.shape,
        }
        with path.open("wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            for piece in self.pieces(slice(0, len(self))):
                file.write(piece.data)


class ContentHash:
    """Sixteen hexadecimal digits of the values, shapes and types of arrays, which may arrive in pieces."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def begin(self, dtype: np.dtype, shape: Sequence[int]) -> None:
        """Start an array; its values follow with `add`."""
        self._digest.update(f"{dtype}{tuple(shape)}".encode())

    def add(self, values: np.ndarray) -> None:
        """Add the next values of the current array, in C order."""
        self._digest.update(np.ascontiguousarray(values).data if values.size else b"")

    def array(self, value: Any) -> None:
        """Add a whole array."""
        values = to_numpy(value)
        self.begin(values.dtype, values.shape)
        self.add(values)

    def __str__(self) -> str:
        return self._digest.hexdigest()[:16]


def _is_sliceable(source: Any) -> bool:
    """Whether rows can be read from `source` directly: it has a NumPy dtype, a shape and supports slices."""
    if isinstance(source, torch.Tensor):
        return False
    try:
        kind = np.dtype(source.dtype).kind
    except (AttributeError, TypeError):
        return False
    has_rows = hasattr(source, "shape") and hasattr(source, "__getitem__") and not hasattr(source, "iloc")
    return has_rows and kind in "biuf" and not hasattr(source, "toarray")


def _mapping(array: Any) -> mmap.mmap | None:
    """The shared file mapping behind an array; None for private mappings, whose changes are not in the file."""
    modes = set()
    while isinstance(array, np.ndarray):
        modes.add(getattr(array, "mode", None))
        array = array.base
    is_shared = bool(modes & {"r", "r+", "w+"}) and "c" not in modes
    return array if isinstance(array, mmap.mmap) and is_shared else None


def _page_release(mapped: mmap.mmap) -> Callable[[], object]:
    if not hasattr(mmap, "MADV_DONTNEED"):  # Windows trims the pages of mapped files by itself
        return lambda: None
    return lambda: mapped.madvise(mmap.MADV_DONTNEED)
