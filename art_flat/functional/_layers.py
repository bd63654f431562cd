"""Factors of single layers: norms of linear layers, slopes of nonlinear ones.

Layers are looked up by class, and functions by the layer they stand for. A subclass counts as its base only
if it keeps `forward`; everything else is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ._operator_norm import SAFETY, Linear, convolution_norm, nonnegative_norm, spectral_norm
from ._slopes import SLOPES, Factor, Shape, Unknown


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


def convolution(weight: torch.Tensor, shape: Shape, module: nn.Conv2d) -> Factor:
    size, padding = list(shape[2 - weight.ndim :]), 1.0
    if module.padding_mode != "zeros":
        around = module._reversed_padding_repeated_twice
        size = [n + a + b for n, a, b in zip(size, around[-2::-2], around[::-2], strict=True)]
        padding = nonnegative_norm(lambda x: F.pad(x, around, mode=module.padding_mode), shape)
    found = convolution_norm(
        weight, size, stride=module.stride, dilation=module.dilation, groups=module.groups
    )
    return Factor(padding * found, "bounds")


def _batch_norm(module: nn.BatchNorm2d, shape: Shape) -> Factor:
    if module.running_var is None or module.running_mean is None:
        raise Unknown("it keeps no running statistics and uses those of the batch")
    factors = (to_float64(module.running_var) + module.eps).rsqrt()
    if module.weight is not None:
        factors = factors * to_float64(module.weight)
    return multiplication(factors, shape, shape)


def multiplication(factors: torch.Tensor, shape: Shape, result: Shape) -> Factor:
    """The factor of a multiplication of each element by a constant.

    Args:
        factors: The constants, float64.
        shape: Shape of the argument.
        result: Shape of the result, larger where the constants are broadcast.

    Returns:
        The factor.
    """
    copies = math.prod(result) / math.prod(shape)
    return Factor(float(factors.abs().max()) * math.sqrt(copies) * SAFETY, "exact")


def nonnegative(apply: Linear, shape: Shape) -> Factor:
    return Factor(nonnegative_norm(apply, shape), "bounds")


_SAME = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.Flatten,
    nn.Unflatten,
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
    *(nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
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
    nn.Hardshrink: "it is discontinuous",
    nn.Threshold: "it is discontinuous",
}


def layer(module: nn.Module, shape: Shape) -> Factor:
    """The factor of a layer.

    Args:
        module: The layer, in evaluation mode.
        shape: Shape of its input, with a leading axis of 1.

    Returns:
        An upper bound on the norm of a linear layer, the steepest slope of another.

    Raises:
        Unknown: If the layer is not supported.
    """
    base = next((c for c in type(module).__mro__ if c in SLOPES or c in _LINEAR or c in _REASONS), None)
    if base is None or type(module).forward is not base.forward:  # type: ignore[attr-defined]
        raise Unknown("the layer is not supported")
    if base in _REASONS:
        raise Unknown(_REASONS[base])
    if base in SLOPES:
        rule = SLOPES[base]
        return Factor(rule if isinstance(rule, float) else rule(module, shape))
    return _LINEAR[base](module, shape)


_LINEAR: dict[type[nn.Module], Callable[[Any, Shape], Factor]] = {
    nn.Linear: lambda m, _: Factor(spectral_norm(to_float64(m.weight)), "exact"),
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d), lambda m, shape: convolution(to_float64(m.weight), shape, m)
    ),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys(_SAME, lambda *_: Factor(1.0, "")),
    **dict.fromkeys(_ENTRIES_AT_LEAST_0, nonnegative),
}
