"""ψ(R) = 2 (exp R − 1 − R) / R² = 1 + R/3 + R²/12 + …, the growth of curvature over a reach R."""

from __future__ import annotations

import math

import torch

_SERIES_BELOW = 0.5


def psi(reach: torch.Tensor) -> torch.Tensor:
    """ψ(R), rounded up.

    Args:
        reach: R ≥ 0, any shape.

    Returns:
        At least 1, the shape of `reach`.
    """
    large = reach.clamp(min=_SERIES_BELOW)
    closed = 2 * (large.expm1() - large) / large.square()
    return torch.where(reach < _SERIES_BELOW, 1 + _series(reach), closed) * (1 + 1e-12)


def log_psi(reach: torch.Tensor) -> torch.Tensor:
    """log ψ(R), finite where ψ overflows.

    Args:
        reach: R ≥ 0, any shape.

    Returns:
        At least 0, the shape of `reach`.
    """
    large = reach.clamp(min=_SERIES_BELOW)
    closed = math.log(2) + large + torch.log1p(-(1 + large) * (-large).exp()) - 2 * large.log()
    return torch.where(reach < _SERIES_BELOW, _series(reach).log1p(), closed)


def _series(reach: torch.Tensor) -> torch.Tensor:
    # ψ(R) − 1, for small R
    small = reach.clamp(max=_SERIES_BELOW)
    series = torch.zeros_like(reach)
    for n in range(14, 2, -1):
        series = (1 + series) * small / n
    return series
