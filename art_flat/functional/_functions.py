"""Functions and methods that nets call, mapped to the layers that they correspond to."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ._layers import layer, multiplication, nonnegative, to_float64
from ._slopes import Factor, Unknown

Target = Callable[..., Any] | str
"""A function, or the name of a method."""
Targets = frozenset[Target]

ADD: Targets = frozenset({
    *(operator.add, operator.iadd, torch.add, "add", "add_"),
    *(operator.sub, operator.isub, torch.sub, "sub", "sub_"),  # the sign of a branch does not matter
})  # fmt: skip
JOIN: Targets = frozenset({torch.cat, torch.concat, torch.concatenate, torch.stack})
SPLIT: Targets = frozenset({torch.chunk, torch.split, torch.unbind, "chunk", "split", "unbind"})
SHAPES: Targets = frozenset({"size", "dim", "numel", "is_floating_point"})
"""Methods that depend only on the shape."""
SHAPE_ATTRIBUTES = frozenset({"shape", "ndim", "dtype", "device"})
VIEWS: Targets = frozenset({
    *(torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze),
    *("flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "t", "expand", "expand_as"),
    *(operator.getitem, "contiguous", "detach", "to", "float", "double", "type_as"),
})  # fmt: skip
"""Functions and methods whose result may share memory with their argument."""

_MULTIPLY: Targets = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
_DIVIDE: Targets = frozenset({operator.truediv, operator.itruediv, torch.div, "div", "div_"})
_NEGATE: Targets = frozenset({operator.neg, torch.neg, "neg"})
_CASTS: Targets = frozenset({"contiguous", "clone", "detach", "to", "float", "double", "type_as"})
_NONNEGATIVE: Targets = (VIEWS - _CASTS) | {
    *(torch.mean, "mean", torch.sum, "sum", "repeat", F.pad, F.pixel_shuffle, F.pixel_unshuffle),
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
}
"""Linear maps with entries ≥ 0 for all arguments."""


def function_factor(
    target: Target, x: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
) -> Factor:
    """The factor of a function or method of one tensor and constants.

    Args:
        target: The function, or the method's name.
        x: The tensor, one of `args`, with a leading axis of 1.
        args: All positional arguments.
        kwargs: Keyword arguments.
        result: What it returned.

    Returns:
        An upper bound.

    Raises:
        Unknown: If the function, or its use with these arguments, is not supported.
    """
    if not isinstance(result, torch.Tensor) or not result.is_floating_point():
        raise Unknown("its result is not a tensor of real numbers")
    if target in _MULTIPLY | _DIVIDE:
        return _multiply(target, x, args, kwargs, result)
    if not args or args[0] is not x:
        raise Unknown("an argument other than the first depends on the input")
    if target in _NEGATE:
        return Factor(1.0, "")
    if target in _CASTS:
        return Factor(1.0, "")
    if target in _NONNEGATIVE:
        return _nonnegative(target, x, args[1:], kwargs)
    if target not in _LAYERS:
        raise Unknown("the function is not supported")
    found = _LAYERS[target](*args[1:], **kwargs)
    return found if isinstance(found, Factor) else layer(found, x.shape)


def _multiply(
    target: Target, x: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any], result: torch.Tensor
) -> Factor:
    if kwargs or len(args) != 2:
        raise Unknown("it is called with more than two operands")
    if target in _DIVIDE and args[0] is not x:
        raise Unknown("it divides by something that depends on the input")
    constants = to_float64(torch.as_tensor(args[1] if args[0] is x else args[0]))
    factors = to_float64(1 / constants) if target in _DIVIDE else constants
    return multiplication(factors, x.shape, result.shape)


def _nonnegative(target: Target, x: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Factor:
    function = getattr(torch.Tensor, target) if isinstance(target, str) else target
    found = nonnegative(lambda t: function(t, *args, **kwargs), x.shape)
    return found._replace(how="") if target in VIEWS else found


def _plain(module: type[nn.Module]) -> Callable[..., nn.Module]:
    return lambda inplace=False: module()


def _dropout(p: float = 0.5, training: bool = False, inplace: bool = False) -> nn.Module:
    if training:
        raise Unknown("it is called with training=True")
    return nn.Identity()


def _max_pool(module: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def build(
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> nn.Module:
        return module(kernel_size, stride, padding, dilation, return_indices, ceil_mode)

    return build


def _with(module: nn.Module, **tensors: torch.Tensor | None) -> nn.Module:
    for name, tensor in tensors.items():
        if tensor is not None:
            setattr(module, name, nn.Parameter(tensor.detach()) if name == "weight" else tensor)
    return module


def _linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Module:
    return _with(nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta"), weight=weight)


def _convolution(module: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def build(
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> nn.Module:
        outputs, inputs, *kernel = weight.shape
        empty = module(
            inputs * groups, outputs, kernel, stride, padding, dilation, groups, bias=False, device="meta"
        )
        return _with(empty, weight=weight)

    return build


def _batch_norm(
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> nn.Module:
    if training or running_mean is None or running_var is None:
        raise Unknown("it uses the statistics of the batch")
    empty = nn.BatchNorm1d(len(running_mean), eps, affine=weight is not None)
    return _with(empty, weight=weight, running_mean=running_mean, running_var=running_var)


_LAYERS: dict[Target, Callable[..., nn.Module | Factor]] = {
    **dict.fromkeys((torch.abs, "abs"), lambda: Factor(1.0)),
    **dict.fromkeys(
        (torch.clamp, torch.clip, "clamp", "clip", "clamp_", "clip_", F.hardtanh),
        lambda *_, **__: Factor(1.0),
    ),
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"), _plain(nn.ReLU)),
    **dict.fromkeys((F.tanh, torch.tanh, "tanh", "tanh_"), _plain(nn.Tanh)),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid", "sigmoid_"), _plain(nn.Sigmoid)),
    F.relu6: _plain(nn.ReLU6),
    F.silu: _plain(nn.SiLU),
    F.mish: _plain(nn.Mish),
    F.hardswish: _plain(nn.Hardswish),
    F.hardsigmoid: _plain(nn.Hardsigmoid),
    F.selu: _plain(nn.SELU),
    F.softsign: _plain(nn.Softsign),
    F.logsigmoid: _plain(nn.LogSigmoid),
    F.tanhshrink: _plain(nn.Tanhshrink),
    F.gelu: lambda approximate="none": nn.GELU(approximate),
    F.softplus: lambda beta=1.0, threshold=20.0: nn.Softplus(beta, threshold),
    F.leaky_relu: lambda negative_slope=0.01, inplace=False: nn.LeakyReLU(negative_slope),
    F.elu: lambda alpha=1.0, inplace=False: nn.ELU(alpha),
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout), _dropout),
    F.max_pool1d: _max_pool(nn.MaxPool1d),
    F.max_pool2d: _max_pool(nn.MaxPool2d),
    F.max_pool3d: _max_pool(nn.MaxPool3d),
    F.linear: _linear,
    F.conv1d: _convolution(nn.Conv1d),
    F.conv2d: _convolution(nn.Conv2d),
    F.conv3d: _convolution(nn.Conv3d),
    F.batch_norm: _batch_norm,
}
