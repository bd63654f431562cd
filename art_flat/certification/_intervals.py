"""Bounds of every element, carried forward from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ._activation import Activation, Lines, output_range
from ._affine import Affine
from ._graph import Add, Concatenate, Graph, Node
from ._rounding import gamma
from ._rows import laid_out


@dataclass
class Bounds:
    """Bounds of every step's value over the ball, for the samples of one batch."""

    graph: Graph
    lower: list[torch.Tensor] = field(default_factory=list)
    """Per node, shape (n, *shape)."""
    upper: list[torch.Tensor] = field(default_factory=list)
    error: list[torch.Tensor] = field(default_factory=list)
    """Per node: rounding error of its value per unit of a coefficient, in layout."""
    lines: dict[int, Lines] = field(default_factory=dict)
    """Per nonlinear node."""
    _channel_error: dict[int, torch.Tensor] = field(default_factory=dict)

    def channel_error(self, index: int) -> torch.Tensor:
        """The largest error of each channel of a node, shape (n, channels)."""
        if index not in self._channel_error:
            self._channel_error[index] = self.error[index].amax((1, 2))
        return self._channel_error[index]

    def append(self, node: Node) -> None:
        """Add the next node's bounds, from those of its arguments."""
        arguments = [(self.lower[i], self.upper[i]) for i in node.inputs]
        lower, upper, size = step_bounds(node, arguments)
        self.add(lower, upper, size)

    def add(self, lower: torch.Tensor, upper: torch.Tensor, error: torch.Tensor) -> None:
        """Add the next node's bounds and the size of the numbers that its value is computed from, times γ."""
        self.lower.append(lower)
        self.upper.append(upper)
        self.error.append(laid_out(error))

    def tighten(self, index: int, lower: torch.Tensor, upper: torch.Tensor) -> None:
        """Keep the tighter of the current and the new bounds; NaN is ignored."""
        self.lower[index] = torch.fmax(self.lower[index], lower)
        self.upper[index] = torch.fmin(self.upper[index], upper)

    def relax(self, index: int) -> None:
        """Compute the lines of a nonlinear node from the current bounds of its arguments."""
        node = self.graph.nodes[index]
        assert isinstance(node.step, Activation)
        lower, upper = (laid_out(b[node.inputs[0]]) for b in (self.lower, self.upper))
        self.lines[index] = node.step.relax(lower, upper, self.error[node.inputs[0]])


def step_bounds(
    node: Node, arguments: list[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lower and upper bounds, and the error per unit of a coefficient."""
    step = node.step
    dtype = arguments[0][0].dtype
    if isinstance(step, Affine):
        return _affine_bounds(step, *arguments[0])
    if isinstance(step, Activation):
        lower, upper = output_range(step, *arguments[0])
    elif isinstance(step, Add):
        lower, upper = _sum_bounds(step, arguments)
    else:
        assert isinstance(step, Concatenate)
        lower, upper = (torch.cat([a[side] for a in arguments], dim=1) for side in (0, 1))
    return lower, upper, gamma(0, dtype) * torch.maximum(lower.abs(), upper.abs())


def _affine_bounds(
    step: Affine, lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    n, offset = lower.shape[0], step.offset()
    spread = step.spread(torch.cat([radius, centre.abs() + radius]))
    radius, size = spread[:n], spread[n:]
    size = size if offset is None else size + offset
    error = gamma(step.terms, lower.dtype) * size
    centre = step.forward(centre)
    radius = radius + 3 * error
    return centre - radius, centre + radius, error


def _sum_bounds(
    step: Add, arguments: list[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[torch.Tensor, torch.Tensor]:
    signed = [(a, b) if s > 0 else (-b, -a) for s, (a, b) in zip(step.signs, arguments, strict=True)]
    lower, upper = (torch.stack([b[side] for b in signed]) for side in (0, 1))
    slack = gamma(len(signed), lower.dtype) * torch.maximum(lower.abs(), upper.abs()).sum(0)
    return lower.sum(0) - slack, upper.sum(0) + slack
