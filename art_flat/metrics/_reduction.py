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
"""How numbers of n samples become one: their mean, a quantile, or not at all."""

_WHY = "every number is NaN"


def check_reduction(reduction: Any, known: tuple[Reduction, ...]) -> None:
    """Refuse, before anything is run, a reduction that a metric does not have.

    Raises:
        UnknownNameError: If it does not.
    """
    if reduction not in known:
        raise UnknownNameError("reduction", reduction, known)


def reduced(
    values: Floats, reduction: Reduction, x: Any, quantile: float = 0.5, why: str = _WHY
) -> float | Array:
    """The mean, a quantile, or the numbers themselves in the kind of array that `x` is; NaN is left out.

    Args:
        values: Shape (n,), float64.
        reduction: Which.
        x: What the metric was called with.
        quantile: Which quantile, in [0, 1].
        why: Why there may be no number at all.

    Returns:
        One float, or the n numbers.

    Raises:
        InputError: If a float is wanted and every number is NaN.
    """
    if reduction == "none":
        return like(torch.from_numpy(np.ascontiguousarray(values)), x)
    if reduction == "quantile":
        return require_not_nan(weighted_quantile(values, check_share(quantile, "quantile")), why)
    known = values[~np.isnan(values)]
    return require_not_nan(float(known.mean()) if known.size else np.nan, why)
