"""Step functions between the radii of a run, where nothing was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ATTACKED_STEPS = "steps-post"
"""matplotlib's step style of the attacked share: the value at δ_j is an upper bound for every δ ≥ δ_j."""

CERTIFIED_STEPS = "steps-pre"
"""matplotlib's step style of the certified share: the value at δ_j is a lower bound for every δ ≤ δ_j."""


def known_points(
    deltas: Sequence[float], shares: Sequence[float], at_zero: float
) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a step curve: δ = 0, then every radius with a known share.

    Args:
        deltas: Radii, increasing, shape (r,), clip units.
        shares: Shares in [0, 1], shape (r,); NaN where unknown.
        at_zero: The share at δ = 0, where no point moves.

    Returns:
        Radii and shares, of the same length between 1 and r + 1.

    >>> known_points([0.1, 0.2, 0.3], [0.8, float("nan"), 0.5], 1.0)
    (array([0. , 0.1, 0.3]), array([1. , 0.8, 0.5]))
    """
    x = np.concatenate([[0.0], np.asarray(deltas, dtype=np.float64)])
    y = np.concatenate([[at_zero], np.asarray(shares, dtype=np.float64)])
    is_known = ~np.isnan(y)
    return x[is_known], y[is_known]


def open_area(
    deltas: Sequence[float], attacked: Sequence[float], certified: Sequence[float], at_zero: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The area between the two step curves, which is neither certified nor broken.

    Between two radii the truth is at most the attacked share at the smaller and at least the certified share at the
    larger one, or 0 where nothing is certified from there on.

    Args:
        deltas: Radii, increasing, shape (r,), clip units.
        attacked: Shares that no attack broke, shape (r,); NaN where unknown.
        certified: Certified shares, shape (r,); NaN where unknown.
        at_zero: The share at δ = 0.

    Returns:
        Radii, lower and upper ends, each of shape (2 r,): two corners per gap between radii.

    >>> x, low, high = open_area([0.1, 0.2], [0.8, 0.5], [0.6, 0.4], 1.0)
    >>> x.tolist(), low.tolist(), high.tolist()
    ([0.0, 0.1, 0.1, 0.2], [0.6, 0.6, 0.4, 0.4], [1.0, 1.0, 0.8, 0.8])
    """
    x = np.concatenate([[0.0], np.asarray(deltas, dtype=np.float64)])
    high = _last_known([at_zero, *attacked])[:-1]
    low = _last_known([0.0, *certified[::-1]])[:0:-1]
    return np.repeat(x, 2)[1:-1], np.repeat(low, 2), np.repeat(high, 2)


def _last_known(values: Sequence[float]) -> np.ndarray:
    """The values with every NaN replaced by the one before it; the first is known."""
    array = np.asarray(values, dtype=np.float64)
    return np.asarray(array[np.maximum.accumulate(np.where(np.isnan(array), 0, np.arange(array.size)))])
