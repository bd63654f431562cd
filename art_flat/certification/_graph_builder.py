"""Conversion of a net recorded by `torch.fx` to the steps of a graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .._utils.traced import describe
from ..errors import InputError, UnsupportedLayerError
from ._activation import Activation
from ._affine import Affine, Shape
from ._calls import ADD, JOIN, SHAPE_ATTRIBUTES, SHAPES, SUBTRACT, call_chain
from ._graph import Add, Concatenate, Input, Node, Step, converted, step_value
from ._layers import Chain, Unsupported, layer_chain

REMEDY = "Replace it, or certify with a known Lipschitz constant"
_AGREEMENT = 1e-8
"""Largest relative difference between a step and the module in float64."""


def agree(expected: torch.Tensor, actual: torch.Tensor) -> bool:
    """Whether two results are equal up to rounding in float64."""
    return expected.shape == actual.shape and torch.allclose(expected, actual, _AGREEMENT, _AGREEMENT)


class GraphBuilder(fx.Interpreter):
    """A pass of two samples through a net that converts every call to steps of a graph.

    Args:
        net: The recorded net.
        samples: Shape (2, *shape), in the dtype and on the device of the net.
        preprocessing: Steps before it.
    """

    def __init__(self, net: fx.GraphModule, samples: torch.Tensor, preprocessing: Chain) -> None:
        super().__init__(net, garbage_collect_values=False)
        self.extra_traceback = False  # it would rewrite art_flat's errors
        self.samples = samples
        self.preprocessing = preprocessing
        self.nodes: list[Node] = [Node(Input(), (), tuple(samples.shape[1:]), "input")]
        self._index: dict[fx.Node, int] = {}  # of those that depend on the input

    def build(self) -> tuple[list[Node], int]:
        """The nodes, and the index of the last."""
        x, last = self.samples, 0
        for step in self.preprocessing:
            last = self._append(step, (last,), tuple(x.shape[1:]), "preprocessing")
            x = step_value(self.nodes[last], [x])
        self._start = last
        self.run(x)
        output = self.graph.output_node()
        if output not in self._index:
            raise UnsupportedLayerError("the net's output does not depend on its input")
        last = self._index[output]
        if len(self.nodes[last].shape) != 1:
            raise UnsupportedLayerError(
                f"the net returns values of shape {self.nodes[last].shape} per sample; logits (k,) are expected"
            )
        return self.nodes, last

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node of the traced net, and append its steps.

        Args:
            n: The node.

        Returns:
            What the node computes.

        Raises:
            InputError: If the node fails.
            UnsupportedLayerError: If the node is not supported.
        """
        try:
            before = self._arguments(n)
            result = super().run_node(n)
        except Exception as error:  # a layer may raise anything
            raise InputError(
                f"{describe(self, n)} fails on two samples of shape {tuple(self.samples.shape[1:])} in float64; "
                f"check the input shape: {error}"
            ) from error
        try:
            index = self._steps_of(n, before, result)
        except Unsupported as reason:
            raise UnsupportedLayerError(
                f"no bounds over a ball for {describe(self, n)}: {reason}. {REMEDY}"
            ) from None
        if index is not None:
            self._index[n] = index
        return result

    def _arguments(self, n: fx.Node) -> dict[fx.Node, Any]:
        """Copies of the node's arguments, which the node may overwrite."""
        values = {a: self.env[a] for a in n.all_input_nodes if a in self._index}
        return {a: v.clone() if isinstance(v, torch.Tensor) else v for a, v in values.items()}

    def _steps_of(self, n: fx.Node, before: dict[fx.Node, Any], result: Any) -> int | None:
        if n.op == "placeholder":
            return self._placeholder(n)
        if not before or (n.op == "call_method" and n.target in SHAPES):
            return None
        if n.target is getattr and n.args[1] in SHAPE_ATTRIBUTES:
            return None
        if n.op == "output":
            if not isinstance(n.args[0], fx.Node):
                raise Unsupported("the net returns more than one tensor; return the logits alone")
            return self._index[n.args[0]]
        if not isinstance(result, torch.Tensor) or not result.is_floating_point():
            raise Unsupported("its result is not a tensor of real numbers")
        if result.ndim < 2 or result.shape[0] != 2:
            raise Unsupported("it mixes samples: its result has no axis for them in front")
        if n.op == "call_function" and n.target in JOIN:
            return self._join(n, result)
        if len(before) > 1 or self._occurs_twice(n, before):
            return self._sum(n, result)
        return self._single(n, *before.items(), result=result)

    def _placeholder(self, n: fx.Node) -> int | None:
        if n.args:
            return None
        if self._index:
            raise Unsupported("the net takes more than one input")
        return self._start

    def _occurs_twice(self, n: fx.Node, before: dict[fx.Node, Any]) -> bool:
        actual: list[fx.Node] = []
        fx.map_arg((n.args, n.kwargs), actual.append)
        return any(actual.count(a) > 1 for a in before)

    def _join(self, n: fx.Node, result: torch.Tensor) -> int:
        parts: Any = n.args[0] if n.args else n.kwargs["tensors"]
        axis = n.args[1] if len(n.args) > 1 else n.kwargs.get("dim", n.kwargs.get("axis", 0))
        if axis not in {1, 1 - result.ndim} or not all(p in self._index for p in parts):
            raise Unsupported(
                "only branches that depend on the input are joined, along the axis of the channels"
            )
        sizes = tuple(self.env[p].shape[1] for p in parts)
        inputs = tuple(self._index[p] for p in parts)
        return self._append(Concatenate(sizes), inputs, tuple(result.shape[1:]), self._name(n))

    def _sum(self, n: fx.Node, result: torch.Tensor) -> int:
        if n.target not in ADD | SUBTRACT or n.kwargs or len(n.args) != 2:
            raise Unsupported("several of its arguments depend on the input")
        if any(self.env[a].shape != result.shape for a in n.args):  # type: ignore[index]
            raise Unsupported("it adds branches of different shapes")
        signs = (1.0, 1.0 if n.target in ADD else -1.0)
        inputs = tuple(self._index[a] for a in n.args)  # type: ignore[index]
        return self._append(Add(signs), inputs, tuple(result.shape[1:]), self._name(n))

    def _single(self, n: fx.Node, argument: tuple[fx.Node, Any], *, result: torch.Tensor) -> int:
        source, x = argument
        before, after = tuple(x.shape[1:]), tuple(result.shape[1:])
        if n.op == "call_module":
            chain = layer_chain(self.fetch_attr(str(n.target)), before, after)
        else:
            args, kwargs = fx.map_arg((n.args, n.kwargs), lambda a: x if a is source else self.env[a])
            chain = call_chain(n.target, x, args, kwargs, result)
        index, value = self._index[source], x
        steps = [converted(step, x.dtype, x.device) for step in chain]
        for step in steps:
            shape = after if step is steps[-1] else _shape_after(step, value)
            index = self._append(step, (index,), shape, self._name(n))
            value = step_value(self.nodes[index], [value])
        self.compare(result, value)
        return index

    def compare(self, expected: torch.Tensor, actual: torch.Tensor) -> None:
        """Require that steps have the same result as their layer.

        Args:
            expected: Result of the layer.
            actual: Result of the steps.

        Raises:
            Unsupported: If the two differ.
        """
        if not agree(expected, actual):
            raise Unsupported("a hook or a subclass changes what it computes")

    def _append(self, step: Step, inputs: tuple[int, ...], shape: Shape, name: str) -> int:
        self.nodes.append(Node(step, inputs, shape, name))
        return len(self.nodes) - 1

    def _name(self, n: fx.Node) -> str:
        return str(n.target) if n.op == "call_module" else n.name


def _shape_after(step: Affine | Activation, value: torch.Tensor) -> Shape:
    return step.after if isinstance(step, Activation) else tuple(step.forward(value).shape[1:])
