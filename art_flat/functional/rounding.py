"""Projection of points that are outside a ball only because of float32 rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from .._utils.numbers import check_delta
from .._utils.validation import check_norm
from ..typing import Norm
from ._logits import accumulation_dtype
from .distance import _difference, _length, distances, project

ROUNDING_ULPS = 8
"""Units in the last place of float32 by which rounding may move each element of a point."""

ROUNDING_OF_RADIUS = 1024
"""The same for the radius, for scales and norms computed in float32."""

_EPS = torch.finfo(torch.float32).eps
_EXPONENT: dict[Norm, float] = {"Linf": 0.0, "L2": 0.5, "L1": 1.0, "L0": math.inf}
"""1/p: n elements that are each off by a change a distance by at most a n^(1/p)."""


@torch.no_grad()
def snap_into_balls(
    x: torch.Tensor, x_adv: torch.Tensor, balls: Iterable[tuple[Norm, float]]
) -> tuple[torch.Tensor, dict[Norm, torch.Tensor]]:
    """Project points that are outside a ball only by rounding, and return all distances from `x`.

    A point is outside by rounding alone if some point of the ball of radius δ (1 + 1024 u) differs from it by at most
    8 u max(|xᵢ|, |x′ᵢ|) in every element i; u = 2⁻²³ is the spacing of float32 at 1, in which attack libraries compute
    for any dtype of the model. In L0 these are the elements that were changed by rounding only. Points farther out
    are unchanged. Projection into one ball moves a point out of no other, so the order of the balls does not matter.
    It selects the points near the edge of a ball by their values, so that it synchronises with the device.

    Args:
        x: Centres, shape (n, ...).
        x_adv: Finite points, the same shape and dtype.
        balls: Norms and radii, in the units of x.

    Returns:
        Points, shape and dtype of `x_adv`, and norm → distances from `x`, float64, shape (n,). For every ball, a
        distance is at most δ or exceeds it by more than rounding explains.

    Raises:
        InputError: If shapes, dtypes or devices differ, or a radius is not a positive number.
        UnknownNameError: If a norm is unknown.

    >>> x, x_adv = torch.tensor([[0.5, 0.3], [0.5, 0.3]]), torch.tensor([[0.6, 0.4], [0.61, 0.4]])
    >>> [float(d) > 0.1 for d in distances(x, x_adv)["Linf"]]
    [True, True]
    >>> [float(d) > 0.1 for d in snap_into_balls(x, x_adv, [("Linf", 0.1)])[1]["Linf"]]
    [False, True]
    """
    lengths = distances(x, x_adv)
    magnitude = float(torch.maximum(x.abs().amax(), x_adv.abs().amax()))
    snapped = x_adv
    for norm, delta in ((check_norm(norm), check_delta(delta)) for norm, delta in balls):
        slack = ROUNDING_ULPS * _EPS * magnitude * x[0].numel() ** _EXPONENT[norm]
        near = (lengths[norm] > delta) & (lengths[norm] <= _widened(delta) + slack)
        rows = near.nonzero()[:, 0]
        rows = rows[_rounded_out(x[rows], snapped[rows], delta, norm)]
        if rows.numel():
            inside = project(x[rows], snapped[rows], delta, norm)
            snapped = snapped.index_copy(0, rows, inside)
            for each, length in distances(x[rows], inside).items():
                lengths[each][rows] = length
    return snapped, lengths


def _widened(delta: float) -> float:
    return delta * (1 + ROUNDING_OF_RADIUS * _EPS)


def _rounded_out(x: torch.Tensor, x_adv: torch.Tensor, delta: float, norm: Norm) -> torch.Tensor:
    # Mask of the points that are in the ball after moving every element towards x by the rounding tolerance.
    rounding = ROUNDING_ULPS * _EPS * torch.maximum(x.abs(), x_adv.abs()).to(accumulation_dtype(x)).flatten(1)
    least = (_difference(x, x_adv).abs() - rounding).clamp_min(0.0)
    return _length(least, norm) <= _widened(delta)
