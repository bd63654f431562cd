"""Factors of layers: the slopes of nonlinear ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import nn

Shape = Sequence[int]


class Factor(NamedTuple):
    """By how much one layer can stretch a change of its input, in L2."""

    value: float
    """An upper bound."""
    how: str = "slope"
    """As in `LayerBound.how`; empty for layers that only move elements."""


class Unknown(Exception):
    """The reason why a layer is not supported."""


def _prelu(module: nn.PReLU, shape: Shape) -> float:
    return max(1.0, float(module.weight.detach().abs().max()))


def _softplus(module: nn.Softplus, shape: Shape) -> float:
    if module.beta <= 0 or module.threshold < 20:
        raise Unknown("it is discontinuous at its threshold")
    return 1.0


def _celu(module: nn.CELU, shape: Shape) -> float:
    if module.alpha <= 0:
        raise Unknown("its alpha must be positive")
    return 1.0


def _gelu(module: nn.GELU, shape: Shape) -> float:
    return 1.128905 if module.approximate == "none" else 1.128994


def _max_pool(axes: int) -> Callable[[Any, Shape], float]:
    """√ of the number of windows that one input can be the largest of: 1 for windows that do not overlap.

    Returns:
        The factor of a layer that pools along so many axes.
    """

    def factor(module: nn.MaxPool2d, shape: Shape) -> float:
        def per_axis(value: Any) -> Sequence[int]:
            return [value] * axes if isinstance(value, int) else value

        sizes = zip(*map(per_axis, (module.kernel_size, module.stride, module.dilation)), strict=True)
        return math.sqrt(math.prod(min(k, math.ceil((d * (k - 1) + 1) / s)) for k, s, d in sizes))

    return factor


def _adaptive_max_pool(axes: int) -> Callable[[Any, Shape], float]:
    def factor(module: nn.AdaptiveMaxPool2d, shape: Shape) -> float:
        size = module.output_size
        outputs = [size] * axes if size is None or isinstance(size, int) else size
        windows = zip(shape[-axes:], outputs, strict=True)
        return math.sqrt(math.prod(_overlap(n, n if m is None else m) for n, m in windows))

    return factor


def _overlap(n: int, m: int) -> int:
    windows = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
    return max(sum(start <= j < stop for start, stop in windows) for j in range(n))


SLOPES: dict[type[nn.Module], float | Callable[[Any, Shape], float]] = {
    nn.ReLU: 1.0,
    nn.ReLU6: 1.0,
    nn.Tanh: 1.0,
    nn.Hardtanh: 1.0,
    nn.Softsign: 1.0,
    nn.Softshrink: 1.0,
    nn.Tanhshrink: 1.0,
    nn.LogSigmoid: 1.0,
    nn.Sigmoid: 0.25,
    nn.Hardsigmoid: 0.1666667,
    nn.SiLU: 1.099840,
    nn.Mish: 1.088500,
    nn.Hardswish: 1.5,
    nn.SELU: 1.758100,
    nn.LeakyReLU: lambda m, _: max(1.0, abs(m.negative_slope)),
    nn.RReLU: lambda m, _: max(1.0, abs(m.lower + m.upper) / 2),
    nn.ELU: lambda m, _: max(1.0, abs(m.alpha)),
    nn.PReLU: _prelu,
    nn.CELU: _celu,
    nn.GELU: _gelu,
    nn.Softplus: _softplus,
    nn.MaxPool1d: _max_pool(1),
    nn.MaxPool2d: _max_pool(2),
    nn.MaxPool3d: _max_pool(3),
    nn.AdaptiveMaxPool1d: _adaptive_max_pool(1),
    nn.AdaptiveMaxPool2d: _adaptive_max_pool(2),
    nn.AdaptiveMaxPool3d: _adaptive_max_pool(3),
}
