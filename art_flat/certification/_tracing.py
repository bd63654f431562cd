"""Tracing of a module to the graph of its steps, by `torch.fx`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from .._utils.modes import outside_inference_mode, require_eval_mode
from .._utils.traced import record
from ..errors import InputError, UnsupportedLayerError
from ._affine import Affine, Scale, Shape
from ._graph import Graph
from ._graph_builder import REMEDY, GraphBuilder, agree
from ._layers import Chain
from ._simplify import simplified


@outside_inference_mode
def trace(module: nn.Module, input_shape: Sequence[int], *, mean: Any = None, std: Any = None) -> Graph:
    """The graph of a net, for bounds over balls of its inputs.

    Supported are linear layers, convolutions, batch normalisation, ReLU, LeakyReLU, ReLU6, Hardtanh, Tanh,
    Sigmoid, max and average pooling, padding, reshaping, dropout, and sums and concatenations of branches, as
    modules or functions. The graph is compared with the module in float64 before it is returned.

    Args:
        module: The net, in evaluation mode, from (n, *input_shape) to logits (n, k). It is copied.
        input_shape: Shape of one input.
        mean: Subtracted from inputs before the net, a number or one per channel; None for 0.
        std: Divisor of inputs after that, > 0; None for 1.

    Returns:
        The graph, in float64 on the device of the net.

    Raises:
        InputError: If the net is in training mode, has NaN weights, or fails on inputs of this shape.
        UnsupportedLayerError: If it has a layer without bounds, or cannot be traced by `torch.fx`; the error
            names the layer.

    >>> graph = trace(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)).eval(), (2,))
    >>> [node.name for node in graph.nodes]
    ['input', '0', '1', '2']
    """
    _check(module)
    first = next(iter((*module.parameters(), *module.buffers())), torch.zeros(()))
    wide = _wide_copy(module)
    chain = _preprocessing(mean, std, tuple(input_shape))
    builder = GraphBuilder(symbolic(wide), _two_samples(input_shape), chain)
    graph = Graph(simplified(*builder.build()))
    _compare(wide, graph, builder)
    return graph.to(torch.float64, first.device)


def _check(module: nn.Module) -> None:
    name = type(module).__name__
    require_eval_mode(module)
    for key, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name} has NaN or infinite values in {key!r}; load weights that are finite")


def _wide_copy(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module).cpu().double().requires_grad_(False)
    except Exception as error:  # copying a user's module may raise anything
        raise UnsupportedLayerError(
            f"{type(module).__name__} cannot be copied in float64: {error}. {REMEDY}"
        ) from error


def _two_samples(shape: Sequence[int]) -> torch.Tensor:
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def symbolic(module: nn.Module) -> fx.GraphModule:
    """The `torch.fx` graph of a net, with the layers of the net itself.

    Returns:
        The recorded net.

    Raises:
        UnsupportedLayerError: If `torch.fx` cannot trace the net.
    """
    advice = "Write its forward without branches on the values of tensors, or certify with a known Lipschitz constant"
    return fx.GraphModule(*record(module, advice))


def _preprocessing(mean: Any, std: Any, shape: Shape) -> Chain:
    if mean is None and std is None:
        return []
    mean, std = (
        torch.as_tensor(default if v is None else v, dtype=torch.float64).cpu().squeeze()
        for v, default in ((mean, 0.0), (std, 1.0))
    )
    mean, std = (v.reshape(-1, *[1] * (len(shape) - 1)) if v.ndim == 1 else v for v in (mean, std))
    if not bool((std > 0).all() and torch.isfinite(mean).all() and torch.isfinite(std).all()):
        raise InputError("`mean` must be finite and `std` finite and greater than 0 (units of the inputs)")
    try:
        _ = mean + std + torch.empty(shape)
    except RuntimeError:
        raise InputError(f"`mean` and `std` must be numbers or one per channel of inputs {shape}") from None
    return [Scale(1 / std, -mean / std, shape, (mean / std).abs())]


def _compare(module: nn.Module, graph: Graph, builder: GraphBuilder) -> None:
    x = builder.samples
    seen = x
    for step in builder.preprocessing:
        assert isinstance(step, Affine)
        seen = step.forward(seen)
    with torch.no_grad():
        expected, actual = module(seen.clone()), graph.forward(x)
    if not agree(expected, actual):
        raise UnsupportedLayerError(
            f"{type(module).__name__} does not compute the same as the layers that torch.fx finds in it: a hook, or a "
            "layer that overwrites a tensor which is used again (pass inplace=False)"
        )
