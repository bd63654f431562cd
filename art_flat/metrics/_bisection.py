"""The largest radius at which each sample is certified, by bisection on bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..scores.weighted import Bools, Floats

_FIRST = 2.0**-6
"""First radius, as a share of the largest useful one."""
_HALVINGS = 20
"""Share of the first radius below which the search for a sample ends."""
_BISECTIONS = 5
"""Halvings of the octave between a certified and an uncertified radius; they leave 2 %."""


class _Search:
    """Largest certified and smallest uncertified radius so far."""

    def __init__(self, n: int, is_certified: Callable[[np.ndarray, float], Bools]) -> None:
        self.best, self.open = np.zeros(n), np.full(n, np.inf)
        self._is_certified = is_certified

    def evaluate(self, which: np.ndarray, delta: float) -> Bools:
        """Whether the samples with indices `which` are certified at δ."""
        hit = self._is_certified(which, delta)
        self.best[which[hit]] = np.maximum(self.best[which[hit]], delta)
        self.open[which[~hit]] = np.minimum(self.open[which[~hit]], delta)
        return hit


def largest_radii(n: int, is_certified: Callable[[np.ndarray, float], Bools], largest: float) -> Floats:
    """The largest radius of each sample that was evaluated and is certified, within 2 % where bounds are monotone.

    Samples with the same remaining radii are evaluated together.

    Args:
        n: Number of samples.
        is_certified: Maps sample indices (m,) and δ to whether each is certified, bool (m,).
        largest: Largest useful radius, > 0; may be infinite.

    Returns:
        δ, shape (n,), in [0, largest]; 0 where none is certified.

    >>> limit = np.array([0.3, 2.0, 0.0])
    >>> largest_radii(3, lambda which, delta: delta <= limit[which], 1.0).round(2)
    array([0.3, 1. , 0. ])
    """
    search = _Search(n, is_certified)
    first = _FIRST * largest if np.isfinite(largest) else 1.0
    hit = search.evaluate(np.arange(n), first)
    up, down, delta = np.flatnonzero(hit), np.flatnonzero(~hit), first
    while len(up) and delta < min(largest, first * 2.0**_HALVINGS):
        delta = min(2 * delta, largest)
        up = up[search.evaluate(up, delta)]
    delta = first
    for _ in range(_HALVINGS):
        if not len(down):
            break
        delta /= 2
        down = down[~search.evaluate(down, delta)]
    for _ in range(_BISECTIONS):
        with np.errstate(invalid="ignore"):
            middle = np.sqrt(search.best * search.open)
        for value in np.unique(middle[(middle > 0) & np.isfinite(middle)]):
            search.evaluate(np.flatnonzero(middle == value), float(value))
    return search.best
