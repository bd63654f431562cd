"""Batches of a loader as one array of inputs and one of labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from .._utils.arrays import to_numpy
from ..errors import InputError


def stack_batches(batches: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of a `DataLoader`, or of any iterable of batches (x, y), in memory.

    Each batch is read once, so a loader that shuffles or augments returns the samples of this pass.

    Args:
        batches: Yields (x, y): inputs (m, ...) and labels (m,) or (m, k), for any m.

    Returns:
        Inputs (n, ...) and labels (n,) or (n, k).

    Raises:
        InputError: If there is no batch, or one is not a pair.

    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> loader = DataLoader(TensorDataset(torch.rand(5, 2), torch.arange(5)), batch_size=2)
    >>> x, y = stack_batches(loader)
    >>> x.shape, y.tolist()
    ((5, 2), [0, 1, 2, 3, 4])
    """
    if isinstance(batches, torch.utils.data.Dataset):
        batches = torch.utils.data.DataLoader(batches, batch_size=64)
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise InputError(f"`batches` must yield pairs (x, y) of batches, got a {type(batch).__name__}")
        for part, values in zip(parts, batch, strict=True):
            part.append(to_numpy(values))
    if not parts[0]:
        raise InputError("`batches` is empty; an iterator can be read only once")
    try:
        x, y = map(np.concatenate, parts)
    except ValueError as error:
        raise InputError(f"the batches do not fit together: {error}") from None
    return x, y
