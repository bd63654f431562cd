"""Checks of numbers: radii, tolerances, counts and seeds."""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import InputError


def check_number(
    value: Any, name: str, unit: str, *, above: float | None = None, at_least: float | None = None
) -> float:
    """A finite number within its range, not a bool; texts such as "8/255" are read as fractions.

    Returns:
        The number.

    Raises:
        InputError: If it is not a finite number or lies outside the range.
    """
    number = None if isinstance(value, (bool, np.bool_)) or np.ndim(value) > 0 else _as_float(value)
    if number is None:
        raise InputError(f"`{name}` must be a number in {unit}, got {value!r}")
    if not math.isfinite(number):
        raise InputError(f"`{name}` must be finite ({unit}), got {value!r}")
    if above is not None and not number > above:
        raise InputError(f"`{name}` must be greater than {above:g} ({unit}), got {number:g}")
    if at_least is not None and not number >= at_least:
        raise InputError(f"`{name}` must be at least {at_least:g} ({unit}), got {number:g}")
    return number


def _as_float(value: Any) -> float | None:
    try:
        return float(Fraction(value.replace(" ", ""))) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, RuntimeError):
        return None


def check_count(value: Any, name: str, *, at_least: int = 1, of: str = "") -> int:
    """A whole number of Python, NumPy or torch; a bool is not one.

    Args:
        value: The number.
        name: Name of the argument, for errors.
        at_least: The smallest valid value.
        of: Unit of the count, such as "samples".

    Returns:
        The number as a Python int.

    Raises:
        InputError: If it is not a whole number, or too small.

    >>> check_count(np.int64(3), "steps")
    3
    """
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < at_least:
        kind = f"whole number of {of}, at least" if of else "whole number of at least"
        raise InputError(f"`{name}` must be a {kind} {at_least}, got {value!r}")
    return number


def check_levels(levels: Any) -> int | None:
    """A number of values of an input, at least 2, or None.

    Returns:
        The number.

    Raises:
        InputError: If it is not such a number.
    """
    return None if levels is None else check_count(levels, "levels", at_least=2)


def check_delta(delta: Any) -> float:
    """The radius of the ball, > 0, in units of the classifier's `clip_values`."""
    return check_number(delta, "delta", "units of the classifier's clip_values", above=0.0)


def check_epsilon(epsilon: Any) -> float:
    """The tolerated loss change, ≥ 0, in nats."""
    return check_number(epsilon, "epsilon", "nats", at_least=0.0)


def check_seed(seed: Any) -> int:
    """The seed of random number generators, a whole number in [0, 2⁶³).

    Args:
        seed: A whole number of Python, NumPy or torch.

    Returns:
        The seed as a Python int.

    Raises:
        InputError: If it is not such a number.

    >>> check_seed(np.uint8(3))
    3
    """
    try:
        number = check_count(seed, "seed", at_least=0)
    except InputError:
        number = -1
    if not 0 <= number < 2**63:
        raise InputError(
            f"`seed` must be a whole number from 0 to 2**63 - 1, got {seed!r}; runs are always seeded"
        )
    return number
