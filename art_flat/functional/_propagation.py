"""Lipschitz constants carried through the graph of a net, from its input to a layer.

Every tensor in the graph has a constant with respect to the input, in L2: layers multiply it, sums of
branches add up, concatenation adds squares. Linear layers are collected into segments that end where
something nonlinear begins or branches meet. A segment counts with the norm of its product if that matrix is
small enough to decompose, and with the product of its norms otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import fx

from .._errors import UnsupportedLayerError
from .._types import Norm
from . import _functions as functions
from ._layers import LinearMap, Unknown, functional_layer, identity, layer, multiplication, nonnegative
from ._operator_norm import column_norm, dense_matrix, infinity_norm, spectral_norm


class LayerBound(NamedTuple):
    """A row of the table behind a Lipschitz constant."""

    name: str
    """The layers; "a + b" where they were measured together."""
    value: float
    """Their factor."""
    total: float
    """The constant from the input to here."""
    how: str
    """Where the factor is from: an "exact" norm, "bounds" on norms, a "slope", a "sum" or "join" of branches."""


@dataclass(frozen=True)
class Segment:
    """A tensor of the graph, as linear maps since the last place whose constant is known."""

    start: float
    """The constant at that place; at the input itself, that of the identity from `norm` to L2."""
    shape: tuple[int, ...]
    """The shape there, with a leading axis of 1."""
    norm: Norm = "L2"
    """The norm there: L2, but at the input the one asked for."""
    maps: tuple[LinearMap, ...] = ()

    def then(self, item: LinearMap) -> Segment:
        """Append a map; factors per channel become part of the layer before them.

        Returns:
            The longer segment.
        """
        last = self.maps[-1] if self.maps else None
        if item.factors is not None and last is not None and last.scaled is not None:
            merged = replace(last.scaled(item.factors), name=f"{last.name} + {item.name}")
            return replace(self, maps=(*self.maps[:-1], merged))
        return replace(self, maps=(*self.maps, item))

    @cached_property
    def end(self) -> LayerBound:
        """The constant after the maps."""
        name = " + ".join(item.name for item in self.maps if item.name)
        weighted = any(item.weighted for item in self.maps)
        matrix = dense_matrix(self._apply, self.shape) if weighted else None
        if matrix is None:
            value = math.prod(item.norm() for item in self.maps)
            return LayerBound(name, value, self.start * value, "bounds" if weighted else "exact")
        value = spectral_norm(matrix)
        total = self.start * value
        if self.norm == "L1":
            total = min(total, column_norm(matrix))
        elif self.norm == "Linf":
            total = min(total, infinity_norm(matrix))
        return LayerBound(name, total / self.start, total, "exact")

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        for item in self.maps:
            x = item.apply(x)
        return x


class Propagation(fx.Interpreter):
    """One pass of a sample through a graph, in which every tensor also gets its constant."""

    def __init__(self, net: fx.GraphModule, norm: Norm) -> None:
        super().__init__(net, garbage_collect_values=False)
        self.norm: Norm = norm
        self.segments: dict[fx.Node, Segment | None] = {}
        """None for what does not depend on the input."""
        self.rows: dict[str, LayerBound] = {}
        self.needed = _ancestors(net.graph.output_node())
        _refuse_shared_writes(net)

    def constant(self, *args: Any) -> float:
        """Run the net on a sample.

        Args:
            args: The inputs of the net.

        Returns:
            The constant of its output.
        """
        self.run(*args)
        segment = self.segments[self.module.graph.output_node()]
        return 0.0 if segment is None else self._total(segment)

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and find its constant.

        Args:
            n: The node.

        Returns:
            What it computes.

        Raises:
            UnsupportedLayerError: If nothing is known of it.
        """
        result = super().run_node(n)
        if n in self.needed:
            try:
                self.segments[n] = self._segment(n, result)
            except Unknown as reason:
                raise UnsupportedLayerError(
                    f"no Lipschitz constant for {self._describe(n)}: {reason}. "
                    'Replace it, or pass a constant that you know: kind="given", value=...'
                ) from None
        return result

    def _segment(self, n: fx.Node, result: Any) -> Segment | None:
        if n.op == "placeholder":
            return self._input(n, result)
        inputs = [a for a in n.all_input_nodes if self.segments[a] is not None]
        if not inputs or (n.op == "call_method" and n.target in functions.MEASURES):
            return None
        if n.op == "output":
            if not isinstance(n.args[0], fx.Node):
                raise Unknown('it is not one tensor; pass head="name", the last linear layer')
            return self.segments[n.args[0]]
        if n.target is getattr:
            if n.args[1] in functions.MEASURED:
                return None
            raise Unknown("only attributes of its shape are known")
        if n.op == "call_module":
            return self._layer(n, layer, self.fetch_attr(str(n.target)))
        if n.target in functions.ADD | functions.SUBTRACT:
            return self._sum(n, result)
        if n.target in functions.JOIN:
            return self._join(n, result)
        if len(inputs) > 1:
            raise Unknown("several of its arguments depend on the input")
        return self._function(n, inputs[0], result)

    def _input(self, n: fx.Node, x: Any) -> Segment | None:
        if n.args:
            return None  # an argument with a default
        if any(s is not None for s in self.segments.values()):
            raise Unknown("the net takes more than one input")
        return Segment(math.sqrt(x.numel()) if self.norm == "Linf" else 1.0, tuple(x.shape), self.norm)

    def _sum(self, n: fx.Node, result: torch.Tensor) -> Segment:
        if n.kwargs.get("alpha", 1) != 1:
            raise Unknown("its alpha is not 1")
        terms = [a for a in n.args[:2] if isinstance(a, fx.Node) and self.segments[a] is not None]
        if len(terms) == 1:  # a shift by a constant
            x = self.env[terms[0]]
            one = torch.ones(result.shape, dtype=torch.float64) if x.shape != result.shape else None
            item = identity("") if one is None else multiplication("", one, x.shape)
            return self._of(terms[0]).then(item)
        totals = [self._total(self._of(a)) * math.sqrt(result.numel() / self.env[a].numel()) for a in terms]
        return self._start(n, sum(totals), max(totals), "sum", result)

    def _join(self, n: fx.Node, result: torch.Tensor) -> Segment:
        parts: Iterable[fx.Node] = n.args[0] if n.args else n.kwargs["tensors"]  # type: ignore[assignment]
        totals = [self._total(s) for a in parts if (s := self.segments[a]) is not None]
        return self._start(n, math.hypot(*totals), max(totals), "join", result)

    def _function(self, n: fx.Node, source: fx.Node, result: Any) -> Segment:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        x, segment, target = self.env[source], self._of(source), n.target
        if target in functions.MULTIPLY | functions.DIVIDE:
            return segment.then(_factors(n.args, args, source, inverse=target in functions.DIVIDE))
        if n.args[0] is not source:
            raise Unknown("it is called in a way that is not known")
        if target in functions.SPLIT or isinstance(x, (tuple, list)):
            return Segment(self._total(segment), () if target in functions.SPLIT else tuple(result.shape))
        if target in functions.NEGATE:
            return segment.then(multiplication("", -torch.ones((), dtype=torch.float64), x.shape))
        if target in functions.SAME:
            if not result.is_floating_point():
                raise Unknown("it rounds to whole numbers")
            return segment.then(identity(""))
        if target in functions.NONNEGATIVE:

            def apply(t: torch.Tensor) -> torch.Tensor:
                function = getattr(t, target) if isinstance(target, str) else target
                rest = args[1:] if isinstance(target, str) else (t, *args[1:])
                return function(*rest, **kwargs)  # type: ignore[no-any-return, operator]

            return segment.then(nonnegative(self._name(n), apply, x.shape))
        linear = functional_layer(self._name(n), target, args, kwargs)
        if linear is not None:
            return segment.then(linear)
        nonlinear = functions.as_layer(target, args[1:], kwargs)
        if nonlinear is None:
            raise Unknown("it is a function of no known kind")
        if isinstance(nonlinear, float):
            return self._start(n, self._total(segment) * nonlinear, self._total(segment), "slope", result)
        return self._layer(n, layer, nonlinear)
