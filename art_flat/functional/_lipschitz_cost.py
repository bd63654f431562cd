"""Estimated cost of deriving a Lipschitz constant, from the shapes of the layers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ._operator_norm import torus_sides

_PER_CUBE = 10
"""Operations of a decomposition of an n × n matrix, over n³."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LipschitzCost(NamedTuple):
    """Multiplications and additions, counted in pairs."""

    derivation: float
    """Operations to derive the constant in one norm."""
    forward: float
    """Operations of a forward pass of one sample."""


def lipschitz_cost(module: nn.Module, sample: torch.Tensor) -> LipschitzCost:
    """The cost of `lipschitz_constant`, from one forward pass; only linear layers and convolutions count.

    Args:
        module: The net, in evaluation mode.
        sample: One input, shape (1, ...).

    Returns:
        The cost; it depends only on shapes, so that every machine agrees.

    >>> lipschitz_cost(nn.Linear(4, 2), torch.zeros(1, 4))
    LipschitzCost(derivation=96.0, forward=8.0)
    """
    found: list[tuple[float, float]] = []

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        found.append(_layer_cost(layer, inputs[0].shape[1:], output.shape[1:]))

    layers = [m for m in module.modules() if isinstance(m, (nn.Linear, *_CONVOLUTIONS))]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.no_grad():
            module(sample)
    finally:
        for handle in handles:
            handle.remove()
    return LipschitzCost(sum(derivation for derivation, _ in found), sum(forward for _, forward in found))


def _layer_cost(layer: Any, inputs: Sequence[int], outputs: Sequence[int]) -> tuple[float, float]:
    """Operations of the norm of a layer and of one pass through it."""
    weight, n, m = layer.weight.shape, math.prod(inputs), math.prod(outputs)
    if isinstance(layer, nn.Linear):
        return _decomposition(weight[0], weight[1]), float(n * weight[0])
    forward = float(m * math.prod(weight[1:]))
    sides = torus_sides(inputs[1:], weight[2:], stride=layer.stride, dilation=layer.dilation)
    folds = math.prod(layer.stride)
    blocks = layer.groups * math.prod(sides) / folds / 2
    return 4 * blocks * _decomposition(weight[0] // layer.groups, weight[1] * folds), forward


def _decomposition(rows: int, columns: int) -> float:
    """Operations of the largest singular value of a matrix: its smaller Gram matrix and a decomposition."""
    small, large = sorted((rows, columns))
    return float(small**2 * (large + _PER_CUBE * small))
