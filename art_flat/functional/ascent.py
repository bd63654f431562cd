"""Pieces of projected gradient ascent, for attacks and training: objective, steepest step, projection."""

from __future__ import annotations

import math

import torch

from ..typing import Norm


def log_odds_against(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """u = log Σ_{j≠y} exp(z_j) − z_y, of which the cross-entropy log(1 + eᵘ) is an increasing function.

    Its gradient has the direction of the cross-entropy's, and does not underflow for confident predictions.

    Args:
        logits: Shape (n, k), k ≥ 2.
        labels: Indices, shape (n,).

    Returns:
        Float64 (n,), in nats.
    """
    wide = logits.double()
    others = wide.scatter(1, labels[:, None], -math.inf)
    return others.logsumexp(dim=1) - wide.gather(1, labels[:, None])[:, 0]


def unit_step(grad: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The steepest ascent step of length one in `norm`; zero where the gradient is zero.

    Args:
        grad: Gradients, shape (n, ...).
        norm: `"Linf"`; any other is treated as L2.

    Returns:
        Steps, the shape of `grad`.
    """
    if norm == "Linf":
        return grad.sign()
    scaled = grad / expand(grad.flatten(1).abs().amax(dim=1).clamp_min(torch.finfo(grad.dtype).tiny), grad)
    length = torch.linalg.vector_norm(scaled.flatten(1), dim=1).clamp_min(torch.finfo(grad.dtype).tiny)
    return scaled / expand(length, grad)


def shrink_to_ball(shift: torch.Tensor, delta: float, norm: Norm) -> torch.Tensor:
    """Differences projected into the ball of radius δ around 0, up to rounding; `project` is exact and slower.

    Args:
        shift: Differences x′ − x, shape (n, ...).
        delta: Radius, ≥ 0, in the unit of `shift`.
        norm: `"Linf"`; any other is treated as L2.

    Returns:
        Differences, the shape of `shift`.
    """
    if norm == "Linf":
        return shift.clamp(-delta, delta)
    length = torch.linalg.vector_norm(shift.flatten(1), dim=1)
    return shift * expand((delta / length.clamp_min(1e-30)).clamp_max(1), shift)


def expand(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`values` (n,) with as many dimensions as `x` (n, ...), so that the two can be multiplied."""
    return values.view(-1, *[1] * (x.ndim - 1))
