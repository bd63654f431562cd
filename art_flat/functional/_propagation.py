"""Propagation of Lipschitz constants through the graph of a net, from input to output.

Every tensor in the graph has a constant with respect to the input, in L2: layers multiply it, sums of
branches add up, concatenation adds squares.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from .._utils.traced import describe
from ..errors import InputError, UnsupportedLayerError
from ..typing import Norm
from . import _functions
from ._functions import function_factor
from ._layers import layer
from ._operator_norm import constant_in_norm
from ._slopes import Unknown


class LayerBound(NamedTuple):
    """A row of the table behind a Lipschitz constant."""

    name: str
    """The layer."""
    value: float
    """Its factor."""
    total: float
    """The constant from the input to here."""
    how: str
    """Kind of the factor: an "exact" norm, "bounds" on a norm, a "slope", a "sum" or a "join" of branches."""


class Propagation(fx.Interpreter):
    """A pass of one sample through a graph that also computes the constant of every tensor."""

    def __init__(self, net: fx.GraphModule, norm: Norm, notify: Callable[[int, int], None] | None) -> None:
        super().__init__(net, garbage_collect_values=False)
        self.extra_traceback = False  # it would rewrite art_flat's errors
        self.norm: Norm = norm
        self.table: list[LayerBound] = []
        self._notify = notify
        self._totals: dict[fx.Node, float | None] = {}  # None: does not depend on the input
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
            The constant; `table` lists its factors.
        """
        self.run(x)
        return self._totals[self.graph.output_node()] or 0.0

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node, and its constant.

        Args:
            n: The node.

        Returns:
            What the node computes.

        Raises:
            InputError: If the node fails.
            UnsupportedLayerError: If the node is not supported.
        """
        try:
            result = super().run_node(n)
        except Exception as error:  # a layer may raise anything
            raise InputError(
                f"{describe(self, n)} fails in a pass of one sample; check `input_shape`: {error}"
            ) from error
        if n in self._needed:
            try:
                self._totals[n] = self._total(n, result)
            except Unknown as reason:
                raise self._unsupported(n, str(reason)) from None
        if self._notify is not None:
            self._notify(len(self.env) + 1, len(self.graph.nodes))
        return result

    def _total(self, n: fx.Node, result: Any) -> float | None:
        if n.op == "placeholder":
            return None if n.args else constant_in_norm(1.0, self.norm, result.numel())
        sources = [a for a in n.all_input_nodes if self._totals[a] is not None]
        if not sources or (n.op == "call_method" and n.target in _functions.SHAPES):
            return None
        if n.target is getattr and n.args[1] in _functions.SHAPE_ATTRIBUTES:
            return None
        if n.op == "output":
            if n.args[0] is not sources[0]:
                raise Unknown('the net returns more than one tensor; pass head="name", its last linear layer')
            return self._totals[sources[0]]
        if n.op != "call_module":
            if n.target in _functions.ADD:
                return self._sum(n, result)
            if n.target in _functions.JOIN:
                return self._join(n)
        if len(sources) > 1:
            raise Unknown("several of its arguments depend on the input")
        return self._single(n, sources[0], result)

    def _sum(self, n: fx.Node, result: torch.Tensor) -> float:
        if n.kwargs.get("alpha", 1) != 1:
            raise Unknown("its alpha is not 1")
        terms = self._among(n, n.args)  # one, where the other is a constant
        totals = [math.sqrt(result.numel() / self.env[a].numel()) * self._known(a) for a in terms]
        return self._note(n, sum(totals), max(totals), "sum" if len(terms) > 1 else "")

    def _join(self, n: fx.Node) -> float:
        parts: Any = n.args[0] if n.args else n.kwargs["tensors"]
        parts = [parts] if isinstance(parts, fx.Node) else parts  # all that a split returned
        totals = [self._known(a) for a in self._among(n, parts)]
        return self._note(n, math.hypot(*totals), max(totals), "join")

    def _single(self, n: fx.Node, source: fx.Node, result: Any) -> float:
        x, before = self.env[source], self._known(source)
        if _occurrences(n, source) != 1:
            raise Unknown("several of its arguments depend on the input")
        if n.op == "call_module":
            if not _is_real(result):
                raise Unknown("its result is not a tensor of real numbers")
            module = self.fetch_attr(str(n.target))
            _refuse_hooks(module, x, result)
            found = layer(module, tuple(x.shape))
        elif n.target in _functions.SPLIT:
            return before
        elif isinstance(x, (tuple, list)):
            if n.target is not operator.getitem or not _is_real(result):
                raise Unknown("of several tensors, only taking one is known")
            return before
        else:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            found = function_factor(n.target, x, args, kwargs, result)
        return self._note(n, before * found.value, before, found.how)

    def _among(self, n: fx.Node, arguments: Iterable[Any]) -> list[fx.Node]:
        """The arguments that depend on the input, each as often as it occurs.

        Returns:
            At least one node.

        Raises:
            Unknown: If there are more.
        """
        found = [a for a in arguments if isinstance(a, fx.Node) and self._totals[a] is not None]
        if set(found) != {a for a in n.all_input_nodes if self._totals[a] is not None}:
            raise Unknown("it is called in a way that is not known")
        return found

    def _known(self, n: fx.Node) -> float:
        total = self._totals[n]
        assert total is not None
        return total

    def _note(self, n: fx.Node, total: float, before: float, how: str) -> float:
        if how:
            name = str(n.target) if n.op == "call_module" else n.name
            self.table.append(LayerBound(name, total / before if before else 1.0, total, how))
        return total

    def _unsupported(self, n: fx.Node, reason: str) -> UnsupportedLayerError:
        return UnsupportedLayerError(
            f"no Lipschitz constant for {describe(self, n)}: {reason}. Replace it, or pass a known constant: "
            'kind="given", value=...'
        )


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
        These nodes, in any order.
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
