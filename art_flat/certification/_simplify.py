"""Simplification of graphs: scalings are folded into layers, ReLU and max pooling are merged."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch

from ._activation import Activation
from ._affine import Linear, Scale
from ._convolution import Convolution
from ._graph import Node, Step
from ._relaxation import Maximum


def simplified(nodes: list[Node], output: int) -> tuple[Node, ...]:
    """The steps that the output depends on, with pairs merged where that is exact.

    Args:
        nodes: The nodes in order of computation.
        output: Index of the last one.

    Returns:
        Steps in order of computation, the samples first, the output last.
    """
    needed = _ancestors(nodes, output)
    users = Counter(i for j in needed for i in nodes[j].inputs)
    merged_nodes: list[Node] = []
    new_index: dict[int, int] = {}
    for j in sorted(needed):
        node = replace(nodes[j], inputs=tuple(new_index[i] for i in nodes[j].inputs))
        is_chain = (
            len(node.inputs) == 1
            and users[nodes[j].inputs[0]] == 1
            and node.inputs[0] == len(merged_nodes) - 1
        )
        merged = _merged(merged_nodes[-1], node) if is_chain else None
        if merged is not None:
            merged_nodes[-1] = replace(
                node, step=merged, inputs=merged_nodes[-1].inputs, name=_name(merged_nodes[-1], node)
            )
        else:
            merged_nodes.append(node)
        new_index[j] = len(merged_nodes) - 1
    return tuple(merged_nodes)


def _name(first: Node, second: Node) -> str:
    return first.name if isinstance(second.step, Scale) else second.name


def _ancestors(nodes: list[Node], output: int) -> set[int]:
    ancestors, waiting = {0, output}, [output]
    while waiting:
        for i in nodes[waiting.pop()].inputs:
            if i not in ancestors:
                ancestors.add(i)
                waiting.append(i)
    return ancestors


def _merged(first: Node, second: Node) -> Step | None:
    """One step equal to two consecutive ones, or None."""
    if isinstance(first.step, (Linear, Convolution)) and isinstance(second.step, Scale):
        return _scaled(first.step, second.step, second.shape)
    if isinstance(first.step, Activation) and isinstance(second.step, Activation):
        return _pooled(first.step, second.step)
    return None


def _scaled(layer: Linear | Convolution, scale: Scale, shape: tuple[int, ...]) -> Step | None:
    factor, shift, magnitude = (_per_channel(t, shape) for t in (scale.factor, scale.shift, scale.magnitude))
    if factor is None or shift is None or magnitude is None:
        return None
    offset = layer.offset()
    bias = shift if layer.bias is None else layer.bias * factor + shift
    magnitude = magnitude if offset is None else magnitude + offset.flatten() * factor.abs()
    weight = layer.weight * factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
    if isinstance(layer, Linear):
        return Linear(weight, bias, magnitude)
    return replace(layer, weight=weight, bias=bias, magnitude=magnitude, _matrices={})


def _per_channel(t: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor | None:
    """One number per channel, or None if values differ within a channel."""
    t = t.reshape(*[1] * (len(shape) - t.ndim), *t.shape)
    if any(size != 1 for size in t.shape[1:]):
        return None
    return t.expand(shape[0], *t.shape[1:]).flatten()


def _pooled(first: Activation, second: Activation) -> Activation | None:
    """max(0, x₁, …, x_K), for either order of ReLU and max pooling."""
    functions = first.function, second.function
    if not all(isinstance(f, Maximum) for f in functions):
        return None
    relu, pool = (first, second) if len(first.taps) == 1 else (second, first)
    if relu.function != Maximum(0.0) or len(relu.taps) != 1 or pool.function != Maximum(-torch.inf):
        return None
    return replace(pool, function=Maximum(0.0), before=first.before, after=second.after)
