"""Cross-entropy, its change between two points, and the margin, per sample in float64.

A logistic head (k = 1) is the two-class softmax with logits [−z/2, z/2] and labels 0 and 1. −inf logits are
classes that cannot occur. A NaN, a logit of +inf, or a sample with no finite logit gives NaN.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..errors import InputError
from ._logits import accumulation_dtype, check_logits, residual, two_classes, two_rows


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """ℓ = −log softmax(z)_y, computed in float64.

    Args:
        logits: Shape (n, k).
        labels: Class indices y, int64, shape (n,).

    Returns:
        ℓ, float64, shape (n,), nats, ≥ 0; +inf where the label's logit is −inf.

    Raises:
        InputError: If the shapes do not fit, or the labels are not class indices.

    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
    tensor([1.3863], dtype=torch.float64)
    """
    return 0.0 - _of_label(_wide_logits(logits, labels).log_softmax(dim=1), labels)


def loss_change(logits: torch.Tensor, logits_adv: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Δℓ = ℓ(ξ, y) − ℓ(x, y), the change of the loss from a point x to a point ξ.

    Args:
        logits: Logits at x, shape (n, k).
        logits_adv: Logits at ξ, shape (n, k).
        labels: Class indices y, int64, shape (n,).

    Returns:
        Δℓ, float64, shape (n,), nats; negative where the loss falls, NaN where both are infinite.

    Raises:
        InputError: If the shapes do not fit, or the labels are not class indices.

    Source: arXiv 2510.14231, (δ, ε)-robustness: Δℓ ≤ ε within the ball of radius δ.

    >>> loss_change(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    tensor([0.6201], dtype=torch.float64)
    """
    if logits.shape != logits_adv.shape:
        raise InputError(
            f"`logits` has shape {tuple(logits.shape)} and `logits_adv` {tuple(logits_adv.shape)}; "
            "pass the same samples in the same order"
        )
    return cross_entropy(logits_adv, labels) - cross_entropy(logits, labels)


def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """z_y − max_{j≠y} z_j: positive where the label is predicted.

    Args:
        logits: Shape (n, k).
        labels: Class indices y, int64, shape (n,).

    Returns:
        The margin, float64, shape (n,), logit units; for a logistic head z or −z.

    Raises:
        InputError: If the shapes do not fit, or the labels are not class indices.

    >>> margin(torch.tensor([[1.0, 3.0, 2.5]]), torch.tensor([1]))
    tensor([0.5000], dtype=torch.float64)
    """
    z = _wide_logits(logits, labels)
    others = z.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return _of_label(z, labels) - others


def minimum_loss_increase_lower_bound(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The least increase of the loss that a wrong prediction needs: m(x) ≥ log 2 − ℓ(x).

    A wrong prediction has p_y ≤ ½, hence a loss of at least log 2; any number of classes can attain it.

    Args:
        logits: Logits at x, shape (n, k).
        labels: Class indices y, int64, shape (n,).

    Returns:
        The bound, float64, shape (n,), nats; negative where the loss exceeds log 2 already.

    Raises:
        InputError: If the shapes do not fit, or the labels are not class indices.

    >>> minimum_loss_increase_lower_bound(torch.tensor([[9.0, 0.0]]), torch.tensor([0]))
    tensor([0.6930], dtype=torch.float64)
    """
    cost: torch.Tensor = flip_cost(cross_entropy(logits, labels))
    return cost


def flip_cost(loss: Any) -> Any:
    """log 2 − ℓ, by which a loss must rise before the prediction can be wrong; a tensor, an array or a number."""
    return math.log(2) - loss


def feature_gradient_norm(logits: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """‖g‖ with g = Wᵀ(p − e_y), the gradient of the loss in the features; accurate also where p_y → 1.

    Args:
        logits: Shape (n, k).
        weight: Head weight W, shape (k, d).
        labels: Class indices y, int64, shape (n,).

    Returns:
        ‖g‖, float64, shape (n,), nats per feature unit.

    Raises:
        InputError: If the shapes do not fit, or the labels are not class indices.

    >>> feature_gradient_norm(torch.zeros(1, 2), torch.tensor([[1.0], [-1.0]]), torch.tensor([0]))
    tensor([1.], dtype=torch.float64)
    """
    check_logits(logits, weight=weight)
    gradient = residual(_wide_logits(logits, labels), labels) @ two_rows(weight)
    norm: torch.Tensor = torch.linalg.vector_norm(gradient, dim=1)
    return norm


def _of_label(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return values.gather(1, labels[:, None])[:, 0]


def _wide_logits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    check_logits(logits)
    if (
        not isinstance(labels, torch.Tensor)
        or labels.dtype != torch.int64
        or labels.shape != logits.shape[:1]
    ):
        got = (
            f"{labels.dtype} {tuple(labels.shape)}"
            if isinstance(labels, torch.Tensor)
            else type(labels).__name__
        )
        raise InputError(
            f"`labels` must be an int64 tensor of {logits.shape[0]} class indices, got {got}; "
            "pass labels.long(), or labels.argmax(dim=1) of one-hot rows"
        )
    if labels.device != logits.device:
        raise InputError(
            f"`labels` is on {labels.device}, `logits` on {logits.device}; move both to one device"
        )
    z = two_classes(logits)
    return z.to(accumulation_dtype(z))
