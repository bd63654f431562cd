"""Reduction of per-sample numbers to the return value of a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from .._utils.arrays import like
from ..errors import UnknownNameError
from ..scores._points import check_share, require_not_nan
from ..scores.weighted import Floats, weighted_quantile

if TYPE_CHECKING:
    from ..typing import Array

Reduction = Literal["mean", "quantile", "none"]
"""Reductions of numbers of n samples: the mean, a quantile, or none."""

_WHY = "every number is NaN"


def check_reduction(reduction: Any, supported: tuple[Reduction, ...]) -> None:
    """Check that a metric supports a reduction, before any computation.

    Raises:
        UnknownNameError: If it is not supported.
    """
    if reduction not in supported:
        raise UnknownNameError("reduction", reduction, supported)


def reduced(
    values: Floats, reduction: Reduction, x: Any, quantile: float = 0.5, why: str = _WHY
) -> float | Array:
    """The mean, a quantile, or the numbers themselves as the same kind of array as `x`; NaN is excluded.

    Args:
        values: Shape (n,), float64.
        reduction: The reduction.
        x: The inputs of the metric.
        quantile: Quantile in [0, 1].
        why: Reason for having no numbers, for the error.

    Returns:
        One float, or the n numbers.

    Raises:
        InputError: If the result is a float and every number is NaN.
    """
    if reduction == "none":
        return like(torch.from_numpy(np.ascontiguousarray(values)), x)
    if reduction == "quantile":
        return require_not_nan(weighted_quantile(values, check_share(quantile, "quantile")), why)
    supported = values[~np.isnan(values)]
    return require_not_nan(float(supported.mean()) if supported.size else np.nan, why)
