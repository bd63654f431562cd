"""Functions and methods that nets call, mapped to layers or steps."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ._affine import Scale, Shape, nonnegative
from ._layers import Chain, Unsupported, clamp, elementwise, finite, layer_chain, leaky, linear, reshape
from ._relaxation import Clamp, Maximum, SShape

Target = Callable[..., Any] | str
Targets = frozenset[Target]

ADD: Targets = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})
SUBTRACT: Targets = frozenset({operator.sub, operator.isub, torch.sub, torch.subtract, "sub", "sub_"})
JOIN: Targets = frozenset({torch.cat, torch.concat, torch.concatenate})
SHAPES: Targets = frozenset({"size", "dim", "numel", "is_floating_point"})
"""Methods that depend only on the shape."""
SHAPE_ATTRIBUTES = frozenset({"shape", "ndim", "dtype", "device"})

_MULTIPLY: Targets = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
_DIVIDE: Targets = frozenset({operator.truediv, operator.itruediv, torch.div, "div", "div_"})
_NEGATE: Targets = frozenset({operator.neg, torch.neg, "neg"})
_SAME: Targets = frozenset({
    *("contiguous", "clone", "detach", "to", "float", "double", "type_as", torch.clone),
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout),
})  # fmt: skip
_RESHAPE: Targets = frozenset({
    *(torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze),
    *("flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten"),
})  # fmt: skip
_NONNEGATIVE: Targets = frozenset({
    *(torch.mean, "mean", torch.sum, "sum", torch.permute, "permute", torch.transpose, "transpose"),
    *(F.pixel_shuffle, F.pixel_unshuffle, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, operator.getitem),
})  # fmt: skip
"""Linear functions with entries ≥ 0 that act on each sample separately; verified on the traced samples."""


def call_chain(
    target: Target, x: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any], result: torch.Tensor
) -> Chain:
    """The steps of a function or method of one tensor that depends on the input.

    Args:
        target: The function, or the method's name.
        x: The tensor, one of `args`, with the axis of the samples in front.
        args: All positional arguments.
        kwargs: Keyword arguments.
        result: What it returned.

    Returns:
        Its steps.

    Raises:
        Unsupported: If the function, or its use with these arguments, is not supported.
    """
    before, after = tuple(x.shape[1:]), tuple(result.shape[1:])
    if target in ADD | SUBTRACT | _MULTIPLY | _DIVIDE | _NEGATE:
        return _arithmetic(target, x, args, kwargs, before, after)
    if not args or args[0] is not x:
        raise Unsupported("an argument other than the first depends on the input")
    if target in _SAME:
        return []
    if target in _RESHAPE:
        return reshape(before, after)
    if target is F.pad:
        return _pad(before, after, *args[1:], **kwargs)
    if target in _NONNEGATIVE:

        def apply(v: torch.Tensor) -> torch.Tensor:
            function = getattr(torch.Tensor, target) if isinstance(target, str) else target
            return function(v, *args[1:], **kwargs)  # type: ignore[no-any-return]

        return [nonnegative(apply, before, after)]
    if target not in _FUNCTIONS:
        raise Unsupported("the function is not supported")
    layer = _FUNCTIONS[target](before, after, *args[1:], **kwargs)
    return layer_chain(layer, before, after) if isinstance(layer, nn.Module) else layer


def _arithmetic(
    target: Target,
    x: torch.Tensor,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    before: Shape,
    after: Shape,
) -> Chain:
    if before != after:
        raise Unsupported("a constant changes the shape of its result")
    if kwargs.get("alpha", 1) != 1 or (kwargs and "alpha" not in kwargs):
        raise Unsupported("it is called with options that are not supported")
    if target in _NEGATE:
        return _scale(-1.0, 0.0, before)
    other = args[1] if args[0] is x else args[0]
    constant = finite(torch.as_tensor(other, dtype=torch.float64))
    if constant.ndim > len(before):
        if constant.shape[0] != 1:
            raise Unsupported("it combines each sample with a constant of its own")
        constant = constant[0]
    if target in ADD:
        return _scale(1.0, constant, before)
    if target in SUBTRACT:
        return _scale(1.0, -constant, before) if args[0] is x else _scale(-1.0, constant, before)
    if target in _MULTIPLY:
        return _scale(constant, 0.0, before)
    if args[0] is not x:
        raise Unsupported("it divides by something that depends on the input")
    return _scale(finite(1 / constant), 0.0, before)


def _scale(factor: Any, shift: Any, shape: Shape) -> Chain:
    factor, shift = (torch.as_tensor(t, dtype=torch.float64) for t in (factor, shift))
    return [Scale(factor, shift, shape, shift.abs())]


def _pad(before: Shape, after: Shape, pad: Any, mode: str = "constant", value: float | None = None) -> Chain:
    if value:
        raise Unsupported("it pads with a value other than 0; use a padding layer")
    return [nonnegative(lambda v: F.pad(v, pad, mode), before, after)]


def _module(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    return lambda before, after, *args, **kwargs: build(*args, **kwargs)


def _max_pool(module: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def build(
        before: Shape,
        after: Shape,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> nn.Module:
        return module(kernel_size, stride, padding, dilation, return_indices, ceil_mode)

    return build


def _linear(before: Shape, after: Shape, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Chain:
    return linear(weight, bias, before, after)


def _convolution(module: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def build(
        before: Shape,
        after: Shape,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> nn.Module:
        out, into, *kernel = weight.shape
        layer = module(
            into * groups, out, kernel, stride, padding, dilation, groups, bias=False, device="meta"
        )
        for name, value in (("weight", weight), ("bias", bias)):
            setattr(layer, name, _constant(value))
        return layer

    return build


def _batch_norm(
    before: Shape,
    after: Shape,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> nn.Module:
    if training or running_mean is None or running_var is None:
        raise Unsupported("it uses the statistics of the batch")
    layer = nn.BatchNorm2d(before[0], eps, affine=False).to(torch.float64)
    layer.register_buffer("running_mean", running_mean)
    layer.register_buffer("running_var", running_var)
    for name, value in (("weight", weight), ("bias", bias)):
        setattr(layer, name, _constant(value))
    return layer


def _constant(value: torch.Tensor | None) -> nn.Parameter | None:
    return None if value is None else nn.Parameter(value.detach(), requires_grad=False)


def _clamp(before: Shape, after: Shape, min: Any = None, max: Any = None) -> Chain:
    return clamp(min, max, before)


def _relu(before: Shape, after: Shape, inplace: bool = False) -> Chain:
    return elementwise(Maximum(), before)


def _s_shape(name: str) -> Callable[..., Chain]:
    return lambda before, after: elementwise(SShape(name), before)


_FUNCTIONS: dict[Target, Callable[..., nn.Module | Chain]] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), _relu),
    **dict.fromkeys((F.tanh, torch.tanh, "tanh", "tanh_"), _s_shape("tanh")),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid", "sigmoid_"), _s_shape("sigmoid")),
    **dict.fromkeys((torch.clamp, torch.clip, "clamp", "clip", "clamp_", "clip_"), _clamp),
    F.relu6: lambda before, after, inplace=False: elementwise(Clamp(0.0, 6.0), before),
    F.hardtanh: lambda before, after, low=-1.0, high=1.0, inplace=False: clamp(low, high, before),
    F.leaky_relu: lambda before, after, negative_slope=0.01, inplace=False: leaky(negative_slope, before),
    **dict.fromkeys((F.gelu,), _module(lambda *a, **k: nn.GELU())),
    **dict.fromkeys((F.silu,), _module(lambda *a, **k: nn.SiLU())),
    **dict.fromkeys((F.hardswish,), _module(lambda *a, **k: nn.Hardswish())),
    **dict.fromkeys((F.mish,), _module(lambda *a, **k: nn.Mish())),
    **dict.fromkeys((F.layer_norm, F.group_norm, F.instance_norm), _module(lambda *a, **k: nn.LayerNorm(1))),
    **dict.fromkeys(
        (F.softmax, torch.softmax, "softmax", F.log_softmax), _module(lambda *a, **k: nn.Softmax())
    ),
    F.max_pool1d: _max_pool(nn.MaxPool1d),
    F.max_pool2d: _max_pool(nn.MaxPool2d),
    F.linear: _linear,
    F.conv1d: _convolution(nn.Conv1d),
    F.conv2d: _convolution(nn.Conv2d),
    F.conv3d: _convolution(nn.Conv3d),
    F.batch_norm: _batch_norm,
}
