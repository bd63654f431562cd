"""Conversion of layers to steps, with reasons for unsupported ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ._activation import Activation
from ._affine import Affine, Linear, LinearFunction, Reshape, Scale, Shape, nonnegative
from ._convolution import Convolution, Pair
from ._relaxation import Clamp, LeakyReLU, Maximum, Nonlinearity, SShape

Chain = list[Affine | Activation]
"""Consecutive steps; empty for an identity layer."""


class Unsupported(Exception):
    """The reason why a layer cannot be bounded."""


def layer_chain(module: nn.Module, before: Shape, after: Shape) -> Chain:
    """The steps of a layer in evaluation mode.

    Args:
        module: The layer, in float64.
        before: Shape of one sample of its argument.
        after: Shape of one sample of its result.

    Returns:
        Its steps.

    Raises:
        Unsupported: If the layer, or these parameters, are not supported.
    """
    base = next((c for c in type(module).__mro__ if c in _BUILDERS or c in _REASONS), None)
    if base is None:
        raise Unsupported("the layer is not supported")
    if base in _REASONS:
        raise Unsupported(_REASONS[base])
    return _BUILDERS[base](module, before, after)


def elementwise(function: Nonlinearity, shape: Shape) -> Chain:
    """A nonlinear function of each element."""
    return [Activation(function, shape, shape)]


def linear(weight: torch.Tensor, bias: torch.Tensor | None, before: Shape, after: Shape) -> Chain:
    if len(before) == 1:
        return [Linear(finite(weight), finite_or_none(bias))]
    weight, size = finite(weight), finite(weight).abs()
    apply, apply_abs = (lambda v: F.linear(v, weight)), (lambda v: F.linear(v, size))
    return [LinearFunction(apply, apply_abs, before, after, finite_or_none(bias), max(weight.shape))]


def finite(t: torch.Tensor) -> torch.Tensor:
    """A constant of the net.

    Args:
        t: The constant.

    Returns:
        The constant; non-floating values become float64.

    Raises:
        Unsupported: If it has NaN or infinite values.
    """
    t = t if t.is_floating_point() else t.to(torch.float64)
    if not bool(torch.isfinite(t).all()):
        raise Unsupported("it has NaN or infinite weights; load weights that are finite")
    return t


def finite_or_none(t: torch.Tensor | None) -> torch.Tensor | None:
    return None if t is None else finite(t)


def pair(value: Any, axes: int = 2) -> Pair:
    """An argument given once or per axis, as a pair for images; a single axis is the width."""
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    values = values * axes if len(values) == 1 else values
    return (values[0], values[1]) if axes == 2 else (0, values[0])


def _convolution(module: nn.Conv2d, before: Shape, after: Shape) -> Chain:
    axes = len(before) - 1
    weight, bias = finite(module.weight), finite_or_none(module.bias)
    around = module._reversed_padding_repeated_twice
    chain: Chain = []
    padding: Any = tuple(around[-2::-2])
    if module.padding_mode != "zeros" or padding != tuple(around[-1::-2]):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        padded = (
            *before[:1],
            *(n + a + b for n, a, b in zip(before[1:], around[-2::-2], around[-1::-2], strict=True)),
        )
        chain, before, padding = (
            [nonnegative(lambda v: F.pad(v, around, mode), before, padded)],
            padded,
            (0,) * axes,
        )
    if axes > 2:
        return [*chain, _volume(module, weight, bias, before, after, padding)]
    weight = weight.unsqueeze(2) if axes == 1 else weight
    stride, dilation = (max_one(pair(v, axes)) for v in (module.stride, module.dilation))
    step = Convolution(weight, bias, before, after, stride, pair(padding, axes), dilation, module.groups)
    return [*chain, step]


def max_one(value: Pair) -> Pair:
    """Strides of at least 1, also along the axis that an image of a single row does not have."""
    return max(1, value[0]), value[1]


def _volume(
    module: Any,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    before: Shape,
    after: Shape,
    padding: Any,
) -> Affine:
    options: Any = (module.stride, padding, module.dilation, module.groups)
    size = weight.abs()
    return LinearFunction(
        lambda v: F.conv3d(v, weight, None, *options),
        lambda v: F.conv3d(v, size, None, *options),
        before,
        after,
        None if bias is None else bias.reshape(-1, 1, 1, 1),
        weight[0].numel() + weight[:, 0].numel(),
    )


def _transposed(module: nn.ConvTranspose2d, before: Shape, after: Shape) -> Chain:
    function = {2: F.conv_transpose1d, 3: F.conv_transpose2d, 4: F.conv_transpose3d}[len(before)]
    weight, bias = finite(module.weight), finite_or_none(module.bias)
    options: Any = (module.stride, module.padding, module.output_padding, module.groups, module.dilation)
    size = weight.abs()
    shift = None if bias is None else bias.reshape(-1, *[1] * (len(after) - 1))
    terms = weight[0].numel() + weight[:, 0].numel()
    return [
        LinearFunction(
            lambda v: function(v, weight, None, *options),
            lambda v: function(v, size, None, *options),
            *(before, after, shift, terms),
        )
    ]


def _batch_norm(module: nn.BatchNorm2d, before: Shape, after: Shape) -> Chain:
    if module.running_var is None or module.running_mean is None:
        raise Unsupported("it keeps no running statistics and uses those of the batch")
    mean, variance = finite(module.running_mean), finite(module.running_var)
    factor = (variance + module.eps).rsqrt()
    factor = factor if module.weight is None else factor * finite(module.weight)
    bias = torch.zeros_like(mean) if module.bias is None else finite(module.bias)
    return [channel_scale(factor, bias - mean * factor, bias.abs() + (mean * factor).abs(), before)]


def channel_scale(factor: torch.Tensor, shift: torch.Tensor, magnitude: torch.Tensor, shape: Shape) -> Scale:
    """A factor and a shift per channel, each of shape (channels,)."""
    trailing = [1] * (len(shape) - 1)
    factor, shift, magnitude = (t.reshape(-1, *trailing) for t in (factor, shift, magnitude))
    return Scale(factor, shift, shape, magnitude)


def _leaky(module: Any, before: Shape, after: Shape) -> Chain:
    slope = module.negative_slope if isinstance(module, nn.LeakyReLU) else (module.lower + module.upper) / 2
    return leaky(slope, before)


def leaky(slope: float, shape: Shape) -> Chain:
    if not 0 <= slope <= 1:
        raise Unsupported(f"its negative slope {slope:g} is not between 0 and 1")
    return elementwise(LeakyReLU(slope) if slope else Maximum(), shape)


def clamp(low: float | None, high: float | None, shape: Shape) -> Chain:
    """min(max(x, low), high), either of which may be missing."""
    if high is None and low is not None:
        return [*_shifted(-low, shape), *elementwise(Maximum(), shape), *_shifted(low, shape)]
    if low is None or high is None or not low < high:
        raise Unsupported(f"it clamps to {low} … {high}; a lower end below an upper end is supported")
    return elementwise(Clamp(float(low), float(high)), shape)


def _shifted(by: float, shape: Shape) -> Chain:
    if by == 0:
        return []
    one, shift = torch.ones((), dtype=torch.float64), torch.tensor(by, dtype=torch.float64)
    return [Scale(one, shift, shape, shift.abs())]


def _max_pool(module: nn.MaxPool2d, before: Shape, after: Shape) -> Chain:
    axes = len(before) - 1
    if axes > 2:
        raise Unsupported("max pooling of volumes is not supported")
    if module.return_indices:
        raise Unsupported("it returns indices as well")
    stride = module.stride if module.stride is not None else module.kernel_size
    kernel, stride, dilation = (max_one(pair(v, axes)) for v in (module.kernel_size, stride, module.dilation))
    padding = pair(module.padding, axes)
    return [Activation(Maximum(-math.inf), before, after, kernel, stride, padding, dilation)]


def _adaptive_max_pool(module: Any, before: Shape, after: Shape) -> Chain:
    sizes = list(zip(before[1:], after[1:], strict=True))
    if len(before) > 3 or any(n % m for n, m in sizes):
        raise Unsupported("its windows differ in size; choose an output size that divides the input's")
    kernel = pair(tuple(n // m for n, m in sizes), len(sizes))
    return [Activation(Maximum(-math.inf), before, after, max_one(kernel), max_one(kernel))]


def _average_pool(module: Any, before: Shape, after: Shape) -> Chain:
    """A convolution for images, which keeps rows in windows, else any linear function."""
    if isinstance(module, nn.AvgPool2d) and not module.ceil_mode and not module.divisor_override:
        kernel, padding = pair(module.kernel_size), pair(module.padding)
        stride = pair(module.stride if module.stride is not None else module.kernel_size)
        if module.count_include_pad or padding == (0, 0):
            weight = torch.full((before[0], 1, *kernel), 1 / math.prod(kernel), dtype=torch.float64)
            return [Convolution(weight, None, before, after, stride, padding, (1, 1), before[0])]
    return [nonnegative(module, before, after)]


def _nonnegative(module: nn.Module, before: Shape, after: Shape) -> Chain:
    return [nonnegative(module, before, after)]


def _padding(module: Any, before: Shape, after: Shape) -> Chain:
    if getattr(module, "value", 0) != 0:
        shift = module(torch.zeros(1, *before, dtype=torch.float64))[0]
        apply = nonnegative(lambda v: F.pad(v, module.padding), before, after)
        return [apply, Scale(torch.ones_like(shift), shift, after, shift.abs())]
    return [nonnegative(module, before, after)]


def reshape(before: Shape, after: Shape) -> Chain:
    return [] if before == after else [Reshape(before, after)]


def _of(function: Nonlinearity) -> Callable[[Any, Shape, Shape], Chain]:
    return lambda module, before, after: elementwise(function, before)


_NOT_MONOTONE = (
    "it is not monotone, so that its linear bounds are not implemented; ReLU, LeakyReLU or Tanh work"
)
_ATTENTION = "attention is not supported"
_DIVIDES = "it divides by a spread of its argument; batch normalisation in evaluation mode works"
_REASONS: dict[type[nn.Module], str] = {
    **dict.fromkeys((nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanhshrink, nn.Softshrink), _NOT_MONOTONE),
    **dict.fromkeys((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm), _DIVIDES),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _DIVIDES),
    **dict.fromkeys((nn.MultiheadAttention, nn.Transformer, nn.TransformerEncoderLayer), _ATTENTION),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), "softmax is not supported; let the net return logits"),
    **dict.fromkeys((nn.Hardshrink, nn.Threshold), "it is discontinuous"),
}
_BUILDERS: dict[type[nn.Module], Callable[[Any, Shape, Shape], Chain]] = {
    nn.Linear: lambda m, before, after: linear(m.weight, m.bias, before, after),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), lambda m, b, a: []),
    **dict.fromkeys((nn.AlphaDropout, nn.FeatureAlphaDropout), lambda m, b, a: []),
    **dict.fromkeys((nn.Flatten, nn.Unflatten), lambda m, before, after: reshape(before, after)),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _average_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _nonnegative),
    **dict.fromkeys((nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle), _nonnegative),
    **dict.fromkeys(
        (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d), _padding
    ),
    **dict.fromkeys((nn.CircularPad1d, nn.CircularPad2d, nn.ZeroPad1d, nn.ZeroPad2d), _padding),
    **dict.fromkeys((nn.ConstantPad1d, nn.ConstantPad2d), _padding),
    nn.ReLU: _of(Maximum()),
    nn.ReLU6: _of(Clamp(0.0, 6.0)),
    nn.Hardtanh: lambda m, before, after: clamp(m.min_val, m.max_val, before),
    nn.Tanh: _of(SShape("tanh")),
    nn.Sigmoid: _of(SShape("sigmoid")),
    **dict.fromkeys((nn.LeakyReLU, nn.RReLU), _leaky),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d), _adaptive_max_pool),
}
