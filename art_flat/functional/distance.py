"""Distances between two batches of points, and projection into a ball."""

from __future__ import annotations

import math

import torch

from .._utils.numbers import check_delta
from .._utils.validation import check_keywords, check_norm
from ..errors import InputError
from ..typing import NORMS, Norm
from ._logits import accumulation_dtype


def distance(x: torch.Tensor, x_adv: torch.Tensor, norm: Norm) -> torch.Tensor:
    """‖x_adv − x‖ of each sample, from float64 differences.

    Args:
        x: Points, shape (n, ...).
        x_adv: Points, the same shape.
        norm: `"Linf"`, `"L2"`, `"L1"`, or `"L0"`, the number of elements (not pixels) that differ.

    Returns:
        Distances, float64, shape (n,), in the units of x (L0: a count). Differentiable, L0 aside.

    Raises:
        InputError: If the shapes or devices differ.
        UnknownNameError: If `norm` is unknown.

    >>> distance(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]), "L2")
    tensor([5.], dtype=torch.float64)
    """
    norm = check_norm(norm)
    return _length(_difference(x, x_adv), norm)


def distances(x: torch.Tensor, x_adv: torch.Tensor) -> dict[Norm, torch.Tensor]:
    """‖x_adv − x‖ of each sample in every norm, from one float64 difference; see `distance`.

    Args:
        x: Points, shape (n, ...).
        x_adv: Points, the same shape.

    Returns:
        Norm → distances, float64, shape (n,), in the units of x (L0: a count).

    Raises:
        InputError: If the shapes or devices differ.

    >>> {norm: float(d) for norm, d in distances(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]])).items()}
    {'Linf': 4.0, 'L2': 5.0, 'L1': 7.0, 'L0': 2.0}
    """
    difference = _difference(x, x_adv)
    return {norm: _length(difference, norm) for norm in NORMS}


@check_keywords
@torch.no_grad()
def project(x: torch.Tensor, x_adv: torch.Tensor, delta: float, norm: Norm) -> torch.Tensor:
    """Project the points of `x_adv` into the ball of radius δ around `x`.

    L∞ clamps each element, L2 shrinks the difference, L1 projects orthogonally, L0 keeps the ⌊δ⌋ largest
    changes. Elements round towards x, so `distance(x, result, norm) <= delta` holds exactly, and every
    element lies between those of x and x_adv, so a clip range that holds for both still holds. Has no gradient.

    Args:
        x: Centres, shape (n, ...).
        x_adv: Points, the same shape and dtype.
        delta: Radius, > 0, in the units of x (L0: a number of elements).
        norm: `"Linf"`, `"L2"`, `"L1"` or `"L0"`.

    Returns:
        Points, shape and dtype of `x_adv`; those within the ball are unchanged to the bit. NaN stays NaN.

    Raises:
        InputError: If shapes, dtypes or devices differ, or δ is not positive.
        UnknownNameError: If `norm` is unknown.

    Source: L1: Duchi et al., Efficient Projections onto the l1-Ball, ICML 2008.

    >>> project(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]), 1.0, "Linf")
    tensor([[ 1., -1.]])
    """
    norm, delta = check_norm(norm), check_delta(delta)
    if x.dtype != x_adv.dtype or not x.is_floating_point():
        raise InputError(
            f"`x` is {x.dtype} and `x_adv` {x_adv.dtype}; pass both in one floating dtype, "
            "so that x itself can be returned"
        )
    difference = _difference(x, x_adv)
    target = _TARGETS[norm](difference, delta)
    start, end = x.flatten(1), x_adv.flatten(1)
    back = torch.where(target == difference, end, _round_towards(start, target))
    outside = _length(difference, norm) > delta
    return torch.where(outside[:, None], back, end).reshape(x_adv.shape)


def _difference(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    # x_adv − x in the wide dtype, shape (n, elements)
    if x.shape != x_adv.shape or x.ndim < 2:
        raise InputError(
            f"`x` has shape {tuple(x.shape)} and `x_adv` {tuple(x_adv.shape)}; "
            "both must have one shape (n, ...)"
        )
    if x.device != x_adv.device:
        raise InputError(f"`x` is on {x.device}, `x_adv` on {x_adv.device}; move both to one device")
    return (x_adv.to(accumulation_dtype(x)) - x.to(accumulation_dtype(x))).flatten(1)


def _length(difference: torch.Tensor, norm: Norm) -> torch.Tensor:
    order = {"Linf": math.inf, "L2": 2.0, "L1": 1.0, "L0": 0.0}[norm]
    length: torch.Tensor = torch.linalg.vector_norm(difference, ord=order, dim=1)
    return length


def _round_towards(start: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    # start + target in the dtype of `start`, each element at most |target| away from it
    wide_start = start.to(target.dtype)
    point = (wide_start + target).to(start.dtype)
    too_far = (point.to(target.dtype) - wide_start).abs() > target.abs()
    return torch.where(too_far, torch.nextafter(point, start), point)


def _target_linf(difference: torch.Tensor, delta: float) -> torch.Tensor:
    return difference.clamp(-delta, delta)


def _target_l2(difference: torch.Tensor, delta: float) -> torch.Tensor:
    return _scaled(difference, delta, "L2")


def _target_l1(difference: torch.Tensor, delta: float) -> torch.Tensor:
    # Every element shrinks by θ, chosen so that the sum becomes δ.
    size = difference.abs()
    largest = size.sort(dim=1, descending=True).values
    count = torch.arange(1, size.shape[1] + 1, device=size.device, dtype=size.dtype)
    thresholds = (largest.cumsum(dim=1) - delta) / count
    kept = (largest > thresholds).sum(dim=1, keepdim=True).clamp_min(1)
    theta = thresholds.gather(1, kept - 1)
    return _scaled(difference.sign() * (size - theta).clamp_min(0.0), delta, "L1")


def _scaled(difference: torch.Tensor, delta: float, norm: Norm) -> torch.Tensor:
    # Scaled to length δ, and below it by what rounding could add to a sum
    inside = delta * (1 - 4096 * torch.finfo(difference.dtype).eps)
    return difference * (inside / _length(difference, norm)).clamp_max(1.0)[:, None]


def _target_l0(difference: torch.Tensor, delta: float) -> torch.Tensor:
    count = min(math.floor(delta), difference.shape[1])
    largest = difference.abs().topk(count, dim=1).indices
    return torch.zeros_like(difference).scatter(1, largest, difference.gather(1, largest))


_TARGETS = {"Linf": _target_linf, "L2": _target_l2, "L1": _target_l1, "L0": _target_l0}
