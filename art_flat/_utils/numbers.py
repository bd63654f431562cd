"""Checks of numbers: radii, tolerances, counts and seeds."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
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


def check_radii(deltas: Any) -> tuple[float, ...]:
    """Radii of balls, in units of the classifier's `clip_values`, in the given order and without repetition.

    Args:
        deltas: A radius, or several.

    Returns:
        At least one radius, > 0.

    Raises:
        InputError: If there is none, or one is invalid.

    >>> check_radii(["8/255", 0.01])
    (0.03137254901960784, 0.01)
    """
    radii = tuple(dict.fromkeys(check_delta(delta) for delta in several(deltas)))
    if not radii:
        raise InputError("`deltas` has no radius; pass at least one, such as [2/255, 8/255]")
    return radii


def check_epsilons(epsilons: Any) -> tuple[float, ...]:
    """Tolerated loss changes, in nats, ascending and without repetition.

    Args:
        epsilons: A loss change, or several.

    Returns:
        At least one loss change, ≥ 0.

    Raises:
        InputError: If there is none, one is invalid, or two are equal in the six digits of a column's name.

    >>> check_epsilons([1, 0.1]), check_epsilons(0.5)
    ((0.1, 1.0), (0.5,))
    """
    levels = tuple(sorted({check_epsilon(epsilon) for epsilon in several(epsilons)}))
    if not levels:
        raise InputError("`epsilons` is empty; pass at least one loss change in nats, such as [0.1, 1.0]")
    for small, large in pairwise(levels):
        if f"{small:g}" == f"{large:g}":
            raise InputError(
                f"`epsilons` has {small!r} and {large!r}, which would both be the column @{small:g}; leave one out"
            )
    return levels


def several(values: Any) -> Iterable[Any]:
    """The values of a sequence, or a single value as one of them; texts and mappings are single values."""
    is_one = isinstance(values, (str, Mapping)) or not isinstance(values, Iterable)
    return [values] if is_one or getattr(values, "ndim", 1) == 0 else values


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
