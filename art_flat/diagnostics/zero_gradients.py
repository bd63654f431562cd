"""Checks for input gradients that are exactly zero, in float32 and in exact arithmetic."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..adapters.base import Adapter
from ..functional._logits import residual

_BATCH = 128


class ZeroGradients(NamedTuple):
    """Masks of the samples whose input gradient of the loss is zero in every element."""

    own: torch.Tensor
    """In the model's dtype, as an attack computes it, bool (n,)."""
    float64: torch.Tensor
    """With the residual p − e_y in float64, normalised before the backward pass, bool (n,)."""


def zero_gradients(
    net: Adapter, x: torch.Tensor, y: torch.Tensor, *, estimate_gradients: bool = False
) -> ZeroGradients:
    """Whether the gradient of the cross-entropy with respect to the input is exactly zero.

    The gradient is Jᵀ(p − e_y). On a confident model p − e_y underflows in the model's dtype: an attack then sees
    a zero gradient, although the loss is not flat. In float64 it underflows only at a lead of 745 nats.

    Args:
        net: The adapted classifier.
        x: Samples on the device and in the dtype of `net`, shape (n, ...).
        y: Labels, int64 (n,).
        estimate_gradients: Where a preprocessing defence has no gradient, use the estimate that it declares.

    Returns:
        Two masks.
    """
    module = net.as_module(estimate_gradients=estimate_gradients)
    own, wide = [], []
    with net.guard(), torch.enable_grad():
        for rows, labels in zip(torch.split(x, _BATCH), torch.split(y, _BATCH), strict=True):
            inputs = rows.detach().clone().requires_grad_(True)
            logits = module(inputs)
            loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
            own.append(_is_zero(_gradient(loss, inputs, retain_graph=True)))
            pull = residual(logits.detach().double(), labels)
            size = pull.abs().amax(dim=1, keepdim=True)
            unit = torch.where(size > 0, pull / size, 0.0)
            wide.append(_is_zero(_gradient((logits * unit.to(logits.dtype)).sum(), inputs)))
    return ZeroGradients(torch.cat(own), torch.cat(wide))


def _gradient(value: torch.Tensor, inputs: torch.Tensor, retain_graph: bool = False) -> torch.Tensor:
    """The gradient; zeros where `value` does not depend on the inputs differentiably, as after `detach`."""
    if not value.requires_grad:
        return torch.zeros_like(inputs)
    (gradient,) = torch.autograd.grad(value, inputs, retain_graph=retain_graph, allow_unused=True)
    return torch.zeros_like(inputs) if gradient is None else gradient


def _is_zero(gradient: torch.Tensor) -> torch.Tensor:
    return (gradient == 0).flatten(1).all(dim=1)
