"""`Dataset`: samples with their labels, and selection of samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._utils.formatting import counted
from ..errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Samples with their labels.

    Attributes:
        name: Name it was loaded by.
        x: Inputs, float32, shape (n, c, h, w) or (n, d), within `clip_values`; an array, or `ImageFiles`, which
            reads images when they are indexed.
        y: Class indices, int64, shape (n,).
        class_names: Name of each class, in the order of the indices.
        sample_ids: Position of each sample in the stored order (digits: of all 1,797; else of the split), int64,
            shape (n,).
        clip_values: Smallest and largest possible value of an input.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    sample_ids: np.ndarray
    clip_values: tuple[float, float] = (0.0, 1.0)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def nb_classes(self) -> int:
        """Number k of classes, whether or not each has a sample here."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])


def count(n: int | None, total: int, what: str) -> int:
    """Number of samples to take out of `total`: `n`, or all if `n` is None.

    Returns:
        A number from 1 to `total`.

    Raises:
        InputError: If there are fewer than `n`, or none.
    """
    if total == 0:
        raise InputError(f"{what} has no samples")
    if n is not None and n > total:
        raise InputError(
            f"`n` is {n}, but {what} has {counted(total, 'sample')}; lower `n`, or leave it out for all"
        )
    return total if n is None else n
