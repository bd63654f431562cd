"""Propagation of Lipschitz constants through the graph of a net, from input to output.

Every tensor in the graph has a constant with respect to the input, in L2: layers multiply it, sums of
branches add up, concatenation adds squares. Linear layers are collected into segments that end where
something nonlinear begins or branches meet.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from ..errors import InputError, UnsupportedLayerError
from ..typing import Norm
from . import _functions
from ._functions import function_layer
from ._layers import LinearMap, layer, multiplication
from ._operator_norm import constant_in_norm
from ._segment import LayerBound, Segment
from ._slopes import Slope, Unknown


class Propagation(fx.Interpreter):
    """A pass of one sample through a graph, in which every tensor also gets its constant."""

    def __init__(
        self,
        net: fx.GraphModule,
        norm: Norm,
        notify: Callable[[int, int], None] | None,
        max_entries: int,
    ) -> None:
        super().__init__(net, garbage_collect_values=False)
        self.extra_traceback = False  # it would rewrite our errors
        self.norm: Norm = norm
        self.table: list[LayerBound] = []
        self._notify = notify
        self._max_entries = max_entries
        self._segments: dict[fx.Node, Segment | None] = {}  # None: does not depend on the input
        self._needed = _ancestors(net)
        inputs = [n for n in net.graph.nodes if n.op == "placeholder" and not n.args]
        for n in inputs[1:]:
            raise self._unsupported(n, "the net takes more than one input")
        for n in _shared_writes(net):
            raise self._unsupported(n, "it overwrites a tensor that is used again; pass inplace=False")

    def constant(self, x: torch.Tensor) -> float:
        """The constant of the output.

        Args:
            x: A sample, with a leading axis of 1.

        Returns:
            The constant; `table` says how it came about.
        """
        self.run(x)
        output = self._segments[self.graph.output_node()]
        return 0.0 if output is None else self._total(output)

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node, and its constant.

        Args:
            n: The node.

        Returns:
            What the node computes.

        Raises:
            InputError: If the node fails.
            UnsupportedLayerError: If nothing is known of it.
        """
        try:
            result = super().run_node(n)
        except Exception as error:  # a layer may raise anything
            raise InputError(
                f"{self._describe(n)} fails in a pass of one sample; check `input_shape`: {error}"
            ) from error
        if n in self._needed:
            try:
                self._segments[n] = self._segment(n, result)
            except Unknown as reason:
                raise self._unsupported(n, str(reason)) from None
        if self._notify is not None:
            self._notify(len(self.env) + 1, len(self.graph.nodes))
        return result

    def _segment(self, n: fx.Node, result: Any) -> Segment | None:
        if n.op == "placeholder":
            return None if n.args else self._input(result)
        sources = [a for a in n.all_input_nodes if self._segments[a] is not None]
        if not sources or (n.op == "call_method" and n.target in _functions.SHAPES):
            return None
        if n.target is getattr and n.args[1] in _functions.SHAPE_ATTRIBUTES:
            return None
        if n.op == "output":
            if n.args[0] is not sources[0]:
                raise Unknown('the net returns more than one tensor; pass head="name", its last linear layer')
            return self._segments[sources[0]]
        if n.op != "call_module":
            if n.target in _functions.ADD:
                return self._sum(n, result)
            if n.target in _functions.JOIN:
                return self._join(n, result)
        if len(sources) > 1:
            raise Unknown("several of its arguments depend on the input")
        return self._single(n, sources[0], result)

    def _input(self, x: torch.Tensor) -> Segment:
        start = constant_in_norm(1.0, self.norm, x.numel())
        return Segment(start, tuple(x.shape), self.norm, max_entries=self._max_entries)

    def _sum(self, n: fx.Node, result: torch.Tensor) -> Segment:
        if n.kwargs.get("alpha", 1) != 1:
            raise Unknown("its alpha is not 1")
        terms = self._among(n, n.args)
        if len(terms) == 1:  # a shift by a constant, which may be broadcast
            ones = torch.ones(result.shape, dtype=torch.float64)
            return self._known(terms[0]).then(
                multiplication("", ones, self.env[terms[0]].shape, result.shape)
            )
        totals = [
            math.sqrt(result.numel() / self.env[a].numel()) * self._total(self._known(a)) for a in terms
        ]
        return self._start(n, sum(totals), max(totals), "sum", result)

    def _join(self, n: fx.Node, result: torch.Tensor) -> Segment:
        parts: Any = n.args[0] if n.args else n.kwargs["tensors"]
        parts = [parts] if isinstance(parts, fx.Node) else parts  # all that a split returned
        totals = [self._total(self._known(a)) for a in self._among(n, parts)]
        return self._start(n, math.hypot(*totals), max(totals), "join", result)

    def _single(self, n: fx.Node, source: fx.Node, result: Any) -> Segment:
        x, segment = self.env[source], self._known(source)
        if _occurrences(n, source) != 1:
            raise Unknown("several of its arguments depend on the input")
        if n.op == "call_module":
            if not _is_real(result):
                raise Unknown("its result is not a tensor of real numbers")
            module = self.fetch_attr(str(n.target))
            _refuse_hooks(module, x, result)
            found: LinearMap | Slope = layer(str(n.target), module, tuple(x.shape))
        elif n.target in _functions.SPLIT:
            return self._segment_at(self._total(segment), ())
        elif isinstance(x, (tuple, list)):
            if n.target is not operator.getitem or not _is_real(result):
                raise Unknown("of several tensors, only taking one is known")
            return self._segment_at(self._total(segment), tuple(result.shape))
        else:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            found = function_layer(n.name, n.target, x, args, kwargs, result)
        if isinstance(found, LinearMap):
            return segment.then(found)
        if not found.monotone:
            before = self._total(segment)
            return self._start(n, before * found.steepest, before, "slope", result)
        before = self._note(segment.end).total if segment.maps else segment.start
        start = self._start(n, before * found.steepest, before, "slope", result)
        return replace(start, before=segment, slope=found.steepest)

    def _among(self, n: fx.Node, arguments: Iterable[Any]) -> list[fx.Node]:
        """Those of the arguments that depend on the input, each as often as it occurs.

        Returns:
            At least one node.

        Raises:
            Unknown: If there are more.
        """
        found = [a for a in arguments if isinstance(a, fx.Node) and self._segments[a] is not None]
        if set(found) != {a for a in n.all_input_nodes if self._segments[a] is not None}:
            raise Unknown("it is called in a way that is not known")
        return found

    def _known(self, n: fx.Node) -> Segment:
        segment = self._segments[n]
        assert segment is not None
        return segment

    def _total(self, segment: Segment) -> float:
        if segment.maps:
            self._note(segment.end)
        return self._note(segment.constant).total

    def _note(self, row: LayerBound) -> LayerBound:
        if row.name and row not in self.table:
            self.table.append(row)
        return row

    def _start(self, n: fx.Node, total: float, before: float, how: str, result: torch.Tensor) -> Segment:
        name = str(n.target) if n.op == "call_module" else n.name
        self.table.append(LayerBound(name, total / before if before else 1.0, total, how))
        return self._segment_at(total, tuple(result.shape))

    def _segment_at(self, total: float, shape: tuple[int, ...]) -> Segment:
        return Segment(total, shape, max_entries=self._max_entries)

    def _unsupported(self, n: fx.Node, reason: str) -> UnsupportedLayerError:
        return UnsupportedLayerError(
            f"no Lipschitz constant for {self._describe(n)}: {reason}. Replace it, or pass a constant you know: "
            'kind="given", value=...'
        )

    def _describe(self, n: fx.Node) -> str:
        if n.op == "call_module":
            return f"{str(n.target)!r} ({type(self.fetch_attr(str(n.target))).__name__})"
        if n.op in {"call_function", "call_method"}:
            return f"{n.name!r} ({getattr(n.target, '__name__', n.target)})"
        return f"the net's {'input' if n.op == 'placeholder' else n.op} {n.name!r}"


def _ancestors(net: fx.GraphModule) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = [net.graph.output_node()]
    while waiting:
        n = waiting.pop()
        if n not in found:
            found.add(n)
            waiting.extend(n.all_input_nodes)
    return found


def _occurrences(n: fx.Node, source: fx.Node) -> int:
    found: list[fx.Node] = []
    fx.map_arg((n.args, n.kwargs), found.append)
    return found.count(source)


def _is_real(result: Any) -> bool:
    return isinstance(result, torch.Tensor) and result.is_floating_point()


def _refuse_hooks(module: nn.Module, x: torch.Tensor, result: torch.Tensor) -> None:
    if module._forward_hooks or module._forward_pre_hooks:
        plain = type(module).forward(module, x.clone())  # type: ignore[operator]
        if not torch.equal(plain, result):
            raise Unknown("a hook changes what it computes")


def _shared_writes(net: fx.GraphModule) -> list[fx.Node]:
    """Nodes that overwrite a tensor whose old name, or a view of it, is read later.

    Returns:
        These nodes; their order in the graph says nothing about what is read.
    """
    order = {n: i for i, n in enumerate(net.graph.nodes)}
    owner: dict[fx.Node, fx.Node] = {}
    found = []
    for n in net.graph.nodes:
        source = next((a for a in n.args if isinstance(a, fx.Node)), None)
        writes = _writes(n, net)
        shares = source is not None and (writes or _views(n, net))
        owner[n] = owner[source] if shares else n  # type: ignore[index]
        same = [m for m in owner if owner[m] is owner[n] and m is not n] if writes else []
        if any(order[user] > order[n] for m in same for user in m.users):
            found.append(n)
    return found


def _writes(n: fx.Node, net: fx.GraphModule) -> bool:
    if n.op == "call_module":
        return bool(getattr(net.get_submodule(str(n.target)), "inplace", False))
    name = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    return n.op.startswith("call") and bool(in_place or name in _IN_PLACE or n.kwargs.get("inplace", False))


_IN_PLACE = frozenset({"iadd", "isub", "imul", "itruediv", "setitem"})


def _views(n: fx.Node, net: fx.GraphModule) -> bool:
    if n.op == "call_module":
        return isinstance(
            net.get_submodule(str(n.target)), (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout)
        )
    return n.target in _functions.VIEWS | _functions.SPLIT
