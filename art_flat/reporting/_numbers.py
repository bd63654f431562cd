"""Conversion of numbers to short, valid JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np


def short(value: Any, digits: int = 4) -> float | None:
    """A number with few significant digits; None where it is NaN or missing, ±1e300 for ±∞.

    Args:
        value: A number, or None.
        digits: Number of significant digits.

    Returns:
        A finite number or None, so that JSON can hold it.

    >>> short(0.123456), short(float("nan")), short(float("inf"))
    (0.1235, None, 1e+300)
    """
    if value is None or value != value:  # NaN differs from itself
        return None
    value = float(value)
    if math.isinf(value):
        return math.copysign(1e300, value)
    return float(f"{value:.{digits}g}")


def shorts(values: Iterable[Any], digits: int = 4) -> list[float | None]:
    """`short` of each value."""
    return [short(v, digits) for v in values]


def to_ints(values: Iterable[Any]) -> list[int]:
    """Integers of any library as Python integers."""
    return [int(v) for v in values]


def evenly_spaced_indices(n: int, most: int) -> np.ndarray:
    """At most `most` of the numbers 0…n−1, evenly spaced, for a representative subset.

    Returns:
        The numbers, int64.

    >>> evenly_spaced_indices(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return (
        np.unique(np.linspace(0, max(n - 1, 0), min(n, most)).round().astype(np.int64)) if n else np.arange(0)
    )
