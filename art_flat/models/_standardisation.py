"""Mean and standard deviation of inputs, validated and in the form of ART's preprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError


def mean_and_std(mean: Any, std: Any, input_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """The value of ART's `preprocessing` for inputs normalised as (x − mean)/std.

    Args:
        mean: A number or one per channel, in units of the inputs; None for no normalisation.
        std: As `mean`, > 0.
        input_shape: Shape of one sample, channels first.

    Returns:
        Mean and standard deviation, float32, of shape () or (channels, 1, ...); None if both are None.

    Raises:
        InputError: If one of the two is missing or invalid.

    >>> [part.shape for part in mean_and_std([0.5, 0.4, 0.3], 0.2, (3, 32, 32))]
    [(3, 1, 1), (3, 1, 1)]
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        present, absent = ("std", "mean") if mean is None else ("mean", "std")
        raise InputError(f"`{present}` is given without `{absent}`; pass both, in units of the inputs")
    means, stds = (_per_channel(v, n, input_shape) for v, n in ((mean, "mean"), (std, "std")))
    if not (stds > 0).all():
        raise InputError(f"`std` must be greater than 0 (units of the inputs), got {std!r}")
    means, stds = np.broadcast_arrays(means, stds)
    return means.copy(), stds.copy()


def _per_channel(value: Any, name: str, input_shape: tuple[int, ...]) -> np.ndarray:
    try:
        numbers = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        numbers = np.empty((0, 0), dtype=np.float32)
    if numbers.shape not in {(), (1,), input_shape[:1]} or not np.isfinite(numbers).all():
        raise InputError(
            f"`{name}` must be a finite number or one per channel, so {input_shape[0]} for inputs of shape "
            f"{input_shape}, got {value!r}"
        )
    # with all axes, so that ART does not broadcast over the columns of an image
    return numbers.reshape(-1, *[1] * (len(input_shape) - 1)) if numbers.ndim else numbers
