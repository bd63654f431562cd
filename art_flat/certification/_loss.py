"""The cross-entropy as a function of the margins m_j = z_j − z_y: ℓ = log(1 + Σ_{j≠y} exp m_j)."""

from __future__ import annotations

import torch

from ._rounding import gamma, rounded_up


def margin_matrix(labels: torch.Tensor, n_logits: int, dtype: torch.dtype) -> torch.Tensor:
    """The margins as linear functions of the logits.

    Args:
        labels: Class indices y, shape (n,).
        n_logits: Number of logits; a single one z is a two-class net with logits −z/2 and z/2.
        dtype: Dtype of the result.

    Returns:
        Shape (n, k − 1, n_logits).
    """
    if n_logits == 1:
        sign = 1.0 - 2.0 * labels.to(dtype)
        return sign[:, None, None]
    one = torch.eye(n_logits, dtype=dtype, device=labels.device)
    wrong_classes = torch.arange(n_logits, device=labels.device).expand(len(labels), -1)
    wrong_classes = wrong_classes[wrong_classes != labels[:, None]].view(len(labels), n_logits - 1)
    return one[wrong_classes] - one[labels][:, None]


def loss_at(margins: torch.Tensor) -> torch.Tensor:
    """ℓ rounded up, increasing in every margin.

    Args:
        margins: Shape (n, k − 1).

    Returns:
        Shape (n,), nats.
    """
    top = margins.amax(1).clamp(min=0)
    rest = (-top).exp() + (margins - top[:, None]).exp().sum(1)
    n = margins.shape[1]
    return top + (rest * (1 + gamma(n, top.dtype))).log() + gamma(n, top.dtype) * (1 + top)


def chord_of_loss(
    lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A linear function of the margins above 1 + Σ exp m_j on their bounds, times exp(−top).

    Args:
        lower: Lower bounds of the margins, shape (n, k − 1).
        upper: Upper bounds.

    Returns:
        Slopes (n, k − 1), the constant (n,) and top (n,), with 1 + Σ exp m_j ≤ exp(top)·(⟨slopes, m⟩ + constant).
    """
    top = upper.amax(1).clamp(min=0)
    high, low = (_scaled_exp(m, top) for m in (upper, lower))
    width = upper - lower
    wide = width > torch.finfo(width.dtype).eps * (1 + upper.abs())
    slope = torch.where(wide, (high - low) / torch.where(wide, width, 1.0), high).clamp(min=0)
    constant = torch.maximum(high - slope * upper, low - slope * lower)
    size = high + slope * (upper.abs() + lower.abs())
    total = (-top).exp() + rounded_up(constant, size).sum(1)
    return slope, total + gamma(upper.shape[1], top.dtype) * (1 + size.sum(1)), top


def loss_from_chord(row_bound: torch.Tensor, constant: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """ℓ rounded up from a bound on the chord's row; NaN where the sum is not positive."""
    total = row_bound + constant
    total = total + 4 * gamma(0, top.dtype) * (row_bound.abs() + constant.abs())
    return top + total.log() + 4 * gamma(0, top.dtype) * (1 + top + total.log().abs())


def _scaled_exp(margins: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """exp(m − top) rounded up; the rounding of the exponent is a relative error of the result."""
    relative = gamma(0, top.dtype) * (1 + margins.abs() + top[:, None])
    return (margins - top[:, None]).exp() * (1 + relative)
