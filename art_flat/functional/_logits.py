"""Shared helpers on logits: checks, two-class rows, and logits relative to the largest one."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from .._utils.formatting import counted
from ..errors import InputError


class TopTwoSpread(NamedTuple):
    """The logits of n samples relative to their largest and second largest, without cancellation.

    With a the class of the largest logit and m₂ the largest of the others: gap = m₂ − z_a ≤ 0 and
    others_j = z_j − m₂ ≤ 0, so that p_j / p_a = exp(gap + others_j).
    """

    top: torch.Tensor
    """Class of the largest logit, shape (n,)."""
    gap: torch.Tensor
    """Second largest logit minus the largest, shape (n,), wide; NaN where the largest is not finite."""
    others: torch.Tensor
    """z_j − m₂, shape (n, k); −inf at the top class."""


def spread(logits: torch.Tensor) -> TopTwoSpread:
    """Split logits (n, k ≥ 2) into the gap between the two largest and the distances below the second.

    m₂ is detached: every function built on this depends only on gap + others.

    Returns:
        Classes, gaps and distances.
    """
    largest, top = logits.max(dim=1, keepdim=True)
    masked = logits.scatter(1, top, -torch.inf)
    second = masked.detach().amax(dim=1, keepdim=True)
    dtype = accumulation_dtype(logits)
    gap = (second.to(dtype) - largest.to(dtype)).masked_fill(~torch.isfinite(largest), torch.nan)
    # A single finite logit has no second one: exp(others) is then 0 and exp(gap) too.
    others = masked - second.masked_fill(second == -torch.inf, 0.0)
    return TopTwoSpread(top[:, 0], gap[:, 0], others)


def accumulation_dtype(tensor: torch.Tensor) -> torch.dtype:
    """The dtype of per-sample arithmetic.

    Returns:
        float64, or float32 on devices that have no float64.
    """
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def at_least_float32(*tensors: torch.Tensor) -> torch.dtype:
    """The dtype of results.

    Returns:
        The promoted dtype of the inputs, at least float32.
    """
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def two_classes(logits: torch.Tensor) -> torch.Tensor:
    """Logits of a softmax, from those of a softmax or of a logistic head.

    Returns:
        Logits in at least float32, shape (n, k ≥ 2); logistic ones z as the equivalent pair [−z/2, z/2].
    """
    logits = logits.to(at_least_float32(logits))
    return torch.cat([-logits / 2, logits / 2], dim=1) if logits.shape[1] == 1 else logits


def two_rows(weight: torch.Tensor) -> torch.Tensor:
    """Rows of a softmax head, from those of a softmax or of a logistic head.

    Returns:
        The weight in the wide dtype, shape (k ≥ 2, d); a logistic row w as the equivalent pair ±w/2.
    """
    weight = weight.to(accumulation_dtype(weight))
    return torch.cat([-weight / 2, weight / 2]) if weight.shape[0] == 1 else weight


def residual(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """p − e_y, the gradient of the loss in the logits; p_y − 1 is computed as −Σ_{j≠y} p_j to avoid cancellation.

    Returns:
        The residual in the dtype of `logits`, shape (n, k ≥ 2).
    """
    others = logits.softmax(dim=1).scatter(1, labels[:, None], 0.0)
    return others.scatter(1, labels[:, None], -others.sum(dim=1, keepdim=True))


def frobenius_norm(weight: torch.Tensor) -> torch.Tensor:
    """‖W‖_F of a softmax head, or of the two rows of a logistic one.

    Returns:
        The norm in the wide dtype, shape ().
    """
    norm: torch.Tensor = torch.linalg.vector_norm(weight, dtype=accumulation_dtype(weight))
    return norm / math.sqrt(2) if weight.shape[0] == 1 else norm


def squared_row_distances(weight: torch.Tensor) -> torch.Tensor:
    """D_ij = ‖w_i − w_j‖² by direct differences: ‖w_i‖² + ‖w_j‖² − 2⟨w_i, w_j⟩ would cancel, and has the derivatives.

    Derivatives of `torch.cdist` end at the first before torch 2.14.

    Args:
        weight: Shape (k, d), or (1, d) of a logistic head.

    Returns:
        D, shape (k, k), or (2, 2) of a logistic head, in the wide dtype; exactly 0 for equal rows.
    """
    rows = two_rows(weight)
    distances = torch.cdist(
        rows.detach(), rows.detach(), compute_mode="donot_use_mm_for_euclid_dist"
    ).square()
    if not rows.requires_grad:
        return distances
    squares = rows.square().sum(dim=1)
    expanded = squares[:, None] + squares - 2 * rows @ rows.T
    return distances + (expanded - expanded.detach())


def check_logits(
    logits: torch.Tensor, features: torch.Tensor | None = None, weight: torch.Tensor | None = None
) -> None:
    """Check types, shapes and devices of a head's tensors, not their values, which would synchronise with the device.

    Raises:
        InputError: If one is not a floating tensor, shapes do not fit together, or devices differ.
    """
    _check_matrix(logits, "logits", "n, k")
    if features is not None:
        _check_matrix(features, "features", "n, d", logits)
    if weight is not None:
        _check_matrix(weight, "weight", "k, d", logits)
    if features is not None and features.shape[0] != logits.shape[0]:
        raise InputError(
            f"`logits` has {counted(logits.shape[0], 'sample')} and `features` {features.shape[0]}; "
            "pass one row of each per sample"
        )
    if weight is not None and weight.shape[0] != logits.shape[1]:
        raise InputError(
            f"`logits` has {counted(logits.shape[1], 'class')} and `weight` {counted(weight.shape[0], 'row')}; "
            "pass the weight (k, d) of the layer that computed the logits"
        )
    if weight is not None and features is not None and weight.shape[1] != features.shape[1]:
        raise InputError(
            f"`features` has {counted(features.shape[1], 'column')} and `weight` {weight.shape[1]}; "
            "pass the input of the layer that the weight belongs to"
        )


def _check_matrix(tensor: torch.Tensor, name: str, axes: str, logits: torch.Tensor | None = None) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise InputError(
            f"`{name}` must be a torch.Tensor, got {type(tensor).__name__}; pass torch.as_tensor({name})"
        )
    if not tensor.is_floating_point():
        raise InputError(f"`{name}` must be of a floating dtype, got {tensor.dtype}; pass {name}.float()")
    if tensor.ndim != 2 or tensor.shape[1] == 0:
        raise InputError(f"`{name}` must have shape ({axes}), got {tuple(tensor.shape)}")
    if logits is not None and tensor.device != logits.device:
        raise InputError(
            f"`{name}` is on {tensor.device}, `logits` on {logits.device}; move both to one device"
        )
