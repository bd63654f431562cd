"""Properties of single layers: map and norm of linear layers, slope of nonlinear ones.

Layers are looked up by class, and functions by the layer they stand for. A subclass counts as its base only
if it keeps `forward`; everything else is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ._operator_norm import SAFETY, Linear, convolution_norm, nonnegative_norm, spectral_norm
from ._slopes import SLOPES, Shape, Slope, Unknown, slope_of


@dataclass(frozen=True)
class LinearMap:
    """A linear layer, biases left out."""

    name: str
    apply: Linear
    """The map in float64, with a leading axis of 1."""
    norm: Callable[[], float]
    """Its spectral norm or a bound on it, computed when called."""
    weighted: bool = False
    """Whether its norm is worth computing from the matrix, together with its neighbours."""
    scaled: Callable[[torch.Tensor], LinearMap] | None = None
    """The layer followed by one factor per output channel, where that is again such a layer."""
    factors: torch.Tensor | None = None
    """Its factors per channel, if that is all it does."""


def to_float64(tensor: torch.Tensor) -> torch.Tensor:
    """A constant of a net in float64 on the CPU.

    Args:
        tensor: Any.

    Returns:
        The tensor, detached.

    Raises:
        Unknown: If it has NaN or infinite values.
    """
    tensor = tensor.detach().cpu().to(torch.float64)
    if not bool(torch.isfinite(tensor).all()):
        raise Unknown("it has NaN or infinite weights")
    return tensor


def linear(name: str, weight: torch.Tensor, shape: Shape) -> LinearMap:
    def scaled(factors: torch.Tensor) -> LinearMap:
        return linear(name, weight * factors[:, None], shape)

    return LinearMap(
        name,
        apply=lambda x: F.linear(x, weight),
        norm=lambda: spectral_norm(weight),
        weighted=True,
        scaled=scaled if len(shape) == 2 else None,
    )


def convolution(name: str, weight: torch.Tensor, shape: Shape, module: nn.Conv2d) -> LinearMap:
    def scaled(factors: torch.Tensor) -> LinearMap:
        return convolution(name, weight * factors.reshape(-1, *[1] * (weight.ndim - 1)), shape, module)

    def norm() -> float:
        size, padding = list(shape[2 - weight.ndim :]), 1.0
        if module.padding_mode != "zeros":
            around = module._reversed_padding_repeated_twice
            size = [n + a + b for n, a, b in zip(size, around[-2::-2], around[::-2], strict=True)]
            padding = nonnegative_norm(lambda x: F.pad(x, around, mode=module.padding_mode), shape)
        found = convolution_norm(
            weight, size, stride=module.stride, dilation=module.dilation, groups=module.groups
        )
        return padding * found

    return LinearMap(
        name, lambda x: module._conv_forward(x, weight, None), norm, weighted=True, scaled=scaled
    )


def _batch_norm(name: str, module: nn.BatchNorm2d, shape: Shape) -> LinearMap:
    if module.running_var is None or module.running_mean is None:
        raise Unknown("it keeps no running statistics and uses those of the batch")
    factors = (to_float64(module.running_var) + module.eps).rsqrt()
    if module.weight is not None:
        factors = factors * to_float64(module.weight)
    map_ = multiplication(name, factors.reshape(1, -1, *[1] * (len(shape) - 2)), shape, shape)
    return replace(map_, factors=factors)


def multiplication(name: str, factors: torch.Tensor, shape: Shape, result: Shape) -> LinearMap:
    """A map that multiplies each element by a constant.

    Args:
        name: What to call it.
        factors: The constants, float64.
        shape: Shape of the argument.
        result: Shape of the result, larger where the constants are broadcast.

    Returns:
        The map.
    """
    copies = math.prod(result) / math.prod(shape)
    return LinearMap(
        name, lambda x: x * factors, lambda: float(factors.abs().max()) * math.sqrt(copies) * SAFETY
    )


def nonnegative(name: str, apply: Linear, shape: Shape) -> LinearMap:
    return LinearMap(name, apply, lambda: nonnegative_norm(apply, shape))


def identity(name: str, shape: Shape) -> LinearMap:
    return LinearMap(name, lambda x: x, lambda: 1.0)


_SAME = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
_ENTRIES_AT_LEAST_0 = (
    *(
        nn.AvgPool1d,
        nn.AvgPool2d,
        nn.AvgPool3d,
        nn.AdaptiveAvgPool1d,
        nn.AdaptiveAvgPool2d,
        nn.AdaptiveAvgPool3d,
    ),
    *(nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
    *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
)
_REASONS: dict[type[nn.Module], str] = {
    **dict.fromkeys(
        (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
        "it divides by a spread of its input, which can be near 0",
    ),
    nn.MultiheadAttention: "dot-product attention has no Lipschitz constant",
    nn.Hardshrink: "it jumps",
    nn.Threshold: "it jumps",
}


def layer(name: str, module: nn.Module, shape: Shape) -> LinearMap | Slope:
    """What is known of a layer.

    Args:
        name: What to call it.
        module: The layer, in evaluation mode.
        shape: Shape of its input, with a leading axis of 1.

    Returns:
        The map of a linear layer, the slope of another.

    Raises:
        Unknown: If nothing is known of it.
    """
    known = next((c for c in type(module).__mro__ if c in SLOPES or c in _LINEAR or c in _REASONS), None)
    if known is None or type(module).forward is not known.forward:  # type: ignore[attr-defined]
        raise Unknown("it is of no known kind")
    if known in _REASONS:
        raise Unknown(_REASONS[known])
    if known in SLOPES:
        return slope_of(module, known, shape)
    return _LINEAR[known](name, module, shape)


_LINEAR: dict[type[nn.Module], Callable[[str, Any, Shape], LinearMap]] = {
    nn.Linear: lambda name, m, shape: linear(name, to_float64(m.weight), shape),
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d), lambda name, m, s: convolution(name, to_float64(m.weight), s, m)
    ),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys(_SAME, lambda name, m, shape: identity(name, shape)),
    **dict.fromkeys(_ENTRIES_AT_LEAST_0, nonnegative),
}
