"""Functions and methods that nets call, read as the layers they stand for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ._layers import LinearMap, Unknown, convolution, identity, layer, linear, multiplication, nonnegative, wide

Target = Callable[..., Any] | str
"""A function, or the name of a method."""
Targets = frozenset[Target]

ADD: Targets = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})
ADD |= {operator.sub, operator.isub, torch.sub, "sub", "sub_"}  # the sign of a branch does not matter
JOIN: Targets = frozenset({torch.cat, torch.concat, torch.concatenate, torch.stack})
SPLIT: Targets = frozenset({torch.chunk, torch.split, torch.unbind, "chunk", "split", "unbind"})
SHAPES: Targets = frozenset({"size", "dim", "numel", "is_floating_point"})
"""Methods that see the shape alone."""
SHAPE_ATTRIBUTES = frozenset({"shape", "ndim", "dtype", "device"})
VIEWS: Targets = frozenset({
    *(torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.squeeze, torch.unsqueeze),
    *("flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "t", "expand", "expand_as"),
    *(operator.getitem, "contiguous", "detach", "to", "float", "double", "type_as"),
})  # fmt: skip
"""What may share memory with its argument."""

_MULTIPLY: Targets = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})
_DIVIDE: Targets = frozenset({operator.truediv, operator.itruediv, torch.div, "div", "div_"})
_NEGATE: Targets = frozenset({operator.neg, torch.neg, "neg"})
_CASTS: Targets = frozenset({"contiguous", "clone", "detach", "to", "float", "double", "type_as"})
_NONNEGATIVE: Targets = (VIEWS - _CASTS) | {
    *(torch.mean, "mean", torch.sum, "sum", "repeat", F.pad, F.pixel_shuffle, F.pixel_unshuffle),
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
}
"""Linear maps with entries ≥ 0, whatever their arguments."""


def function_layer(
    name: str, target: Target, x: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
) -> LinearMap | float:
    """What is known of a function or method of one tensor and constants.

    Args:
        name: What to call it.
        target: The function, or the method's name.
        x: The tensor, one of `args`.
        args: All positional arguments, with a leading axis of 1 in `x`.
        kwargs: Keyword arguments.
        result: What it returned.

    Returns:
        The map of a linear one, the Lipschitz factor of another.

    Raises:
        Unknown: If nothing is known of it, or of it with these arguments.
    """
    if not isinstance(result, torch.Tensor) or not result.is_floating_point():
        raise Unknown("its result is no tensor of real numbers")
    if target in _MULTIPLY | _DIVIDE:
        return _multiply(name, target, x, args, result)
    if not args or args[0] is not x:
        raise Unknown("its first argument does not depend on the input, and another does")
    if target in _NEGATE:
        return multiplication("", -torch.ones((), dtype=torch.float64), x.shape)
    if target in _CASTS:
        return identity("")
    if target in _NONNEGATIVE:

        def apply(t: torch.Tensor) -> torch.Tensor:
            done = getattr(t, target)(*args[1:], **kwargs) if isinstance(target, str) else target(t, *args[1:], **kwargs)
            return done  # type: ignore[no-any-return]

        return nonnegative("" if target in VIEWS else name, apply, x.shape)
    if target not in _LAYERS:
        raise Unknown("it is a function of no known kind")
    found = _LAYERS[target](*args[1:], **kwargs)
    return found(name, x.shape) if not isinstance(found, (nn.Module, float)) else (
        found if isinstance(found, float) else layer(name, found, x.shape)
    )


def _multiply(name: str, target: Target, x: torch.Tensor, args: Sequence[Any], result: torch.Tensor) -> LinearMap:
    first, second = args
    other = second if first is x else first
    if target in _DIVIDE and first is not x:
        raise Unknown("it divides by something that depends on the input")
    factors = wide(torch.as_tensor(other))
    if target in _DIVIDE:
        factors = wide(1 / factors)
    return multiplication(name, factors, x.shape, result.shape)
