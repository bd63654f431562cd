"""A net as a graph of steps for the propagation of bounds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from ._activation import Activation
from ._affine import Affine, Shape
from ._rows import as_shape, laid_out


@dataclass(frozen=True)
class Input:
    """The samples."""


@dataclass(frozen=True)
class Add:
    """A sum of branches with signs."""

    signs: tuple[float, ...]


@dataclass(frozen=True)
class Concatenate:
    """A concatenation of branches along the first axis of a sample."""

    sizes: tuple[int, ...]


CPU = torch.device("cpu")
Step = Input | Affine | Add | Concatenate | Activation
S = TypeVar("S", bound=Step)


@dataclass(frozen=True)
class Node:
    """One step and the indices of its arguments."""

    step: Step
    inputs: tuple[int, ...]
    """Indices of earlier nodes."""
    shape: Shape
    """Shape of the value of one sample."""
    name: str
    """Name of the layer or operation in the net."""


@dataclass(frozen=True)
class Graph:
    """A net's steps in order of computation: the samples first, the logits last."""

    nodes: tuple[Node, ...]
    dtype: torch.dtype = torch.float64
    device: torch.device = CPU

    @property
    def input_shape(self) -> Shape:
        """Shape of one sample."""
        return self.nodes[0].shape

    @property
    def n_classes(self) -> int:
        """Number of classes; 2 for a net with a single logit."""
        return max(2, self.nodes[-1].shape[0])

    @property
    def activations(self) -> list[int]:
        """Indices of the nonlinear steps."""
        return [i for i, n in enumerate(self.nodes) if isinstance(n.step, Activation)]

    def until(self, index: int) -> Graph:
        """The steps up to one node."""
        return Graph(self.nodes[: index + 1], self.dtype, self.device)

    def to(self, dtype: torch.dtype, device: torch.device) -> Graph:
        """The graph with its constants in another dtype or on another device."""
        if (dtype, device) == (self.dtype, self.device):
            return self
        nodes = [Node(converted(n.step, dtype, device), n.inputs, n.shape, n.name) for n in self.nodes]
        return Graph(tuple(nodes), dtype, device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits.

        Args:
            x: Samples, shape (n, *input_shape), in the graph's dtype.

        Returns:
            Shape (n, k).
        """
        values: list[torch.Tensor] = []
        for node in self.nodes:
            arguments = [values[i] for i in node.inputs]
            values.append(x if isinstance(node.step, Input) else step_value(node, arguments))
        return values[-1]


def step_value(node: Node, arguments: list[torch.Tensor]) -> torch.Tensor:
    """The value of a step for those of its arguments."""
    step = node.step
    if isinstance(step, Affine):
        return step.forward(arguments[0])
    if isinstance(step, Add):
        return torch.stack([s * a for s, a in zip(step.signs, arguments, strict=True)]).sum(0)
    if isinstance(step, Concatenate):
        return torch.cat(arguments, dim=1)
    assert isinstance(step, Activation)
    if step.is_elementwise:
        return step.function.value(arguments[0][None])
    return as_shape(step.forward(laid_out(arguments[0])), node.shape)


def converted(step: S, dtype: torch.dtype, device: torch.device) -> S:
    """A step with its constants in another dtype or on another device.

    Args:
        step: The step; unchanged.
        dtype: Dtype of the constants.
        device: Device of the constants.

    Returns:
        A new step, or the same one if it has no constants.
    """
    if not isinstance(step, Affine):
        return step
    result = copy.copy(step)
    for name, value in vars(step).items():
        new: Any = value
        if isinstance(value, torch.Tensor):
            new = value.to(device=device, dtype=dtype)
        elif isinstance(value, dict):
            new = {}
        setattr(result, name, new)
    return result
