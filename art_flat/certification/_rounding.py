"""Bounds on rounding errors, after Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1."""

from __future__ import annotations

import torch

EXTRA_OPERATIONS = 24
"""Upper bound of the operations besides the sums of a step (folded weights, slopes, additions of branches)."""


def unit_roundoff(dtype: torch.dtype) -> float:
    """Largest relative error u of one rounding: 2⁻⁵³ in float64."""
    return torch.finfo(dtype).eps / 2


def gamma(n: int, dtype: torch.dtype) -> float:
    """Relative error of a sum of n products: γ = nu / (1 − nu), a little more to cover its own evaluation.

    Args:
        n: Number of terms, ≥ 0; `EXTRA_OPERATIONS` are added.
        dtype: Dtype of the numbers.

    Returns:
        γ, infinite where nu ≥ 1.

    >>> gamma(0, torch.float64) < 1e-14
    True
    """
    error = (n + EXTRA_OPERATIONS) * unit_roundoff(dtype)
    return 1.0625 * error / (1 - error) if error < 1 else float("inf")


def rounded_up(value: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
    """A value increased by more than the rounding error of a few operations on numbers of size `scale`."""
    return value + gamma(0, value.dtype) * (value if scale is None else scale).abs()


def rounded_down(value: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
    """A value decreased by more than the rounding error of a few operations on numbers of size `scale`."""
    return value - gamma(0, value.dtype) * (value if scale is None else scale).abs()
