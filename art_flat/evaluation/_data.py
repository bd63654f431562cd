"""The data of a run: checked, read through once, and hashed shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._utils.arrays import to_numpy
from .._utils.foreign_arrays import as_numbers, is_batches
from .._utils.input_shapes import check_columns, check_input_shape
from .._utils.streaming import ContentHash, InputRows
from .._utils.validation import check_inputs, check_labels
from ..adapters import Adapter
from ..datasets import stack_batches
from ..errors import InputError


@dataclass(frozen=True)
class Data:
    """The data of a run.

    Attributes:
        x: Inputs, shape (n, ...), read by rows.
        y: Labels, int64 (n,).
        samples: Sample ids, int64 (n,).
        weight: Sample weights, float64 (n,).
    """

    x: InputRows
    y: np.ndarray
    samples: np.ndarray
    weight: np.ndarray


def check_data(nets: Mapping[str, Adapter], x: Any, y: Any, samples: Any, weight: Any) -> Data:
    """Validate shapes, labels, ids and weights; the values of the inputs are not read.

    Args:
        nets: The models.
        x: Inputs, or a loader that yields pairs (x, y).
        y: Labels; None for a loader.
        samples: Sample ids; 0…n−1 if None.
        weight: Sample weights; 1 if None.

    Returns:
        The data.

    Raises:
        InputError: If an argument is invalid.
    """
    x, y = _inputs_and_labels(x, y)
    rows = InputRows(x)
    n = len(rows) if rows.ndim else 0
    for net in nets.values():
        check_columns(x, net.feature_names)
        check_input_shape(rows.shape, net.input_shape)
        labels = check_labels(y, n, net.nb_classes).cpu()
    ids = np.arange(n) if samples is None else to_numpy(samples)
    if (
        ids.shape != (n,)
        or ids.dtype.kind not in "iu"
        or len(np.unique(ids)) != n
        or (n and int(ids.max()) >= 2**63)
    ):
        raise InputError(f"`samples` must be {n} different whole numbers below 2**63, one id per sample")
    w = np.ones(n) if weight is None else as_numbers(weight, "weight").astype(np.float64)
    if w.shape != (n,) or not np.isfinite(w).all() or (w < 0).any() or not w.sum() > 0:
        raise InputError(f"`weight` must be {n} finite numbers of at least 0, not all 0")
    return Data(rows, to_numpy(labels), ids.astype(np.int64), w)


def _inputs_and_labels(x: Any, y: Any) -> tuple[Any, Any]:
    """Inputs and labels that were passed separately, or that a loader yields together."""
    if not is_batches(x):
        if y is None:
            raise InputError("`y` is missing; pass one label per sample, shape (n,) or (n, k)")
        return x, y
    if y is not None:
        raise InputError(f"`x` is a {type(x).__name__}, which has the labels; leave out `y`")
    return stack_batches(x)


def read_through(
    nets: Mapping[str, Adapter], data: Data, shard_size: int
) -> tuple[list[tuple[slice, str]], str]:
    """Check every value, and hash every shard and all data, in one pass.

    Args:
        nets: The models, whose clip ranges must contain the inputs.
        data: The data.
        shard_size: Samples per shard.

    Returns:
        The shards with their hashes, and the hash of all data.

    Raises:
        InputError: If an input is not finite or lies outside a clip range.
    """
    x, n = data.x, len(data.x)
    shards, whole = [], ContentHash()
    whole.begin(x.dtype, x.shape)
    for rows in (slice(i, min(i + shard_size, n)) for i in range(0, n, shard_size)):
        part, first = ContentHash(), rows.start
        part.begin(x.dtype, (rows.stop - first, *x.shape[1:]))
        for piece in x.pieces(rows):
            for net in nets.values():
                check_inputs(piece, clip_values=net.clip_values, first_index=first)
            part.add(piece)
            whole.add(piece)
            first += len(piece)
        for array in (data.y, data.samples):
            part.array(array[rows])
        shards.append((rows, str(part)))
    for array in (data.y, data.samples, data.weight):
        whole.array(array)
    return shards, str(whole)
