"""Interval bounds with gradients with respect to the weights, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .._utils.modes import eval_mode
from ._activation import Activation
from ._affine import Affine
from ._ball import Ball
from ._graph import Graph, Input, Node, step_value
from ._graph_builder import GraphBuilder
from ._intervals import Bounds, step_bounds
from ._kinds import Certificate
from ._rows import layout_of
from ._simplify import simplified
from ._tracing import symbolic, trace


class TrainableGraph:
    """The graph of a net whose weights change: its constants are functions of the weights, with gradients.

    Layers are those of the net in evaluation mode: dropout does nothing, and batch normalisation uses its running
    statistics.

    Args:
        module: The net, in any mode.
        input_shape: Shape of one input.

    Raises:
        InputError: If the net fails on inputs of this shape.
        UnsupportedLayerError: If it has a layer without bounds, or cannot be traced by `torch.fx`.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> TrainableGraph(net, (2,)).now().forward(torch.zeros(1, 2)).requires_grad
    True
    """

    def __init__(self, module: nn.Module, input_shape: Sequence[int]) -> None:
        with eval_mode(module):
            trace(module, input_shape)
            self._net = symbolic(module)
        self._module = module
        self._samples = torch.zeros(2, *input_shape)

    def now(self) -> Graph:
        """The graph with the current weights.

        Returns:
            A graph in the dtype and on the device of the weights; it is not compared with the net again.
        """
        weight = next(self._module.parameters())
        samples = self._samples.to(weight)
        with eval_mode(self._module):
            nodes = simplified(*_Builder(self._net, samples, []).build())
        return Graph(nodes, weight.dtype, weight.device)


class _Builder(GraphBuilder):
    def compare(self, expected: torch.Tensor, actual: torch.Tensor) -> None:
        """No check: `trace` compared them, and float32 is too inaccurate for it."""


def worst_case_loss(
    graph: Graph, x: torch.Tensor, labels: torch.Tensor, *, delta: float, clip_values: tuple[Any, Any]
) -> torch.Tensor:
    """The bound of kind `"interval"` on the loss over the L∞ ball within the clip range, with gradients.

    Rounding is not accounted for: the bound is for training, not for certificates.

    Args:
        graph: The net.
        x: Samples, shape (n, *input_shape), in the dtype of the graph.
        labels: Class indices, shape (n,).
        delta: Radius δ > 0, units of the inputs.
        clip_values: Smallest and largest value of an input.

    Returns:
        Shape (n,), nats.

    >>> graph = TrainableGraph(nn.Sequential(nn.Linear(2, 2)), (2,)).now()
    >>> x, y = torch.rand(5, 2), torch.tensor([0, 1, 0, 1, 0])
    >>> loss = worst_case_loss(graph, x, y, delta=0.1, clip_values=(0.0, 1.0))
    >>> loss.shape, loss.requires_grad
    (torch.Size([5]), True)
    """
    low, high = (torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in clip_values)
    ball = Ball(x, delta, "Linf", (low, high))
    certificate = Certificate(graph, ball, labels)
    certificate.improve(_plain_bounds(graph, ball), through=False)
    return certificate.loss


def _plain_bounds(graph: Graph, ball: Ball) -> Bounds:
    """Bounds of every step by intervals, without rounding errors."""
    bounds = Bounds(graph)
    zero = ball.x.new_zeros(())
    for node in graph.nodes:
        lower, upper = _plain_step(node, ball, bounds)
        bounds.lower.append(lower)
        bounds.upper.append(upper)
        bounds.error.append(zero.expand(len(lower), *layout_of(node.shape)))
    return bounds


def _plain_step(node: Node, ball: Ball, bounds: Bounds) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(node.step, Input):
        return ball.box
    arguments = [(bounds.lower[i], bounds.upper[i]) for i in node.inputs]
    lower, upper = arguments[0]
    if isinstance(node.step, Activation):  # none of them falls
        return step_value(node, [lower]), step_value(node, [upper])
    if not isinstance(node.step, Affine):
        return step_bounds(node, arguments)[:2]
    centre, radius = node.step.forward((upper + lower) / 2), node.step.spread((upper - lower) / 2)
    return centre - radius, centre + radius
