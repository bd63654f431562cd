"""Rounding of adversarial points to the values that an image file can hold."""

from __future__ import annotations

import torch

from ..typing import Norm
from .rounding import ROUNDING_ULPS


@torch.no_grad()
def round_to_levels(
    x: torch.Tensor,
    x_adv: torch.Tensor,
    *,
    levels: int,
    low: torch.Tensor,
    high: torch.Tensor,
    delta: float | None = None,
    norm: Norm = "Linf",
) -> torch.Tensor:
    """Points with every element on a grid of equally spaced values, such as the 256 of an 8-bit image.

    An element between two values takes the one farther from `x` where that stays in the ball and the range, so that
    as little of the perturbation as possible is lost, and the nearer one elsewhere. In L2, L1 and L0, where elements
    share the radius, those that are moved least by it are rounded away first. If `x` is on the grid and `x_adv` in the
    ball, so is the result; with elements of `x` off the grid a small ball may hold no value of it.

    Args:
        x: Clean points, shape (n, ...).
        x_adv: Points in the range, the same shape and dtype.
        levels: Number of values, ≥ 2, the first at `low` and the last at `high`.
        low: Smallest input value, in units of `x`, shape () or broadcastable to `x`.
        high: Largest input value, in units of `x`, shape () or broadcastable to `x`.
        delta: Radius of the ball, in units of `x`; None for no ball: every element is rounded away from `x`.
        norm: Norm of the ball.

    Returns:
        Points, shape and dtype of `x_adv`.

    >>> x, x_adv = torch.tensor([[0.0, 1.0, 0.5]]), torch.tensor([[0.3, 0.7, 0.6]])
    >>> bounds = {"low": torch.tensor(0.0), "high": torch.tensor(1.0)}
    >>> round_to_levels(x, x_adv, levels=5, delta=0.3, **bounds)  # 0.5 and 0.5 would leave the ball
    tensor([[0.2500, 0.7500, 0.7500]])
    """
    start, spacing = low.double(), (high.double() - low.double()) / (levels - 1)
    rounding = ROUNDING_ULPS * torch.finfo(torch.float32).eps * torch.maximum(low.abs(), high.abs()).double()
    clean, place = (
        _snapped((points.double() - start) / spacing, rounding / spacing) for points in (x, x_adv)
    )
    rises = place >= clean
    away = torch.where(rises, place.ceil(), place.floor()).clamp(0, levels - 1)
    towards = torch.where(rises, place.floor(), place.ceil()).clamp(0, levels - 1)
    if delta is not None:
        far, near = (_cost((value - clean) * spacing, norm) for value in (away, towards))
        away = torch.where(_affordable(far, near, (away - place).abs(), delta, norm), away, towards)
    rounded = start + away * spacing
    return torch.where((rounded - x).abs() <= rounding, x.double(), rounded).to(x_adv.dtype)


def _snapped(place: torch.Tensor, rounding: torch.Tensor) -> torch.Tensor:
    """Places on the grid without the rounding errors of those that are at a value."""
    whole = place.round()
    return torch.where((place - whole).abs() <= rounding, whole, place)


def _cost(shift: torch.Tensor, norm: Norm) -> torch.Tensor:
    """What every element adds to the norm, or to its square in L2."""
    if norm == "L0":
        return (shift != 0).double()
    return shift.square() if norm == "L2" else shift.abs()


def _affordable(
    far: torch.Tensor, near: torch.Tensor, moved: torch.Tensor, delta: float, norm: Norm
) -> torch.Tensor:
    """Which elements stay in the ball when they are rounded away, those that move least first."""
    budget = (delta**2 if norm == "L2" else delta) * (1 + ROUNDING_ULPS * torch.finfo(torch.float32).eps)
    if norm == "Linf":
        return far <= budget
    shape, (far, near, moved) = far.shape, (part.flatten(1) for part in (far, near, moved))
    order = moved.argsort(dim=1, stable=True)
    spent = near.sum(dim=1, keepdim=True) + (far - near).gather(1, order).cumsum(dim=1)
    kept = torch.zeros_like(far, dtype=torch.bool).scatter(1, order, spent <= budget)
    return kept.view(shape)
