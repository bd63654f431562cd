"""Consecutive linear layers, measured as one operator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch

from ..typing import Norm
from ._chain import LARGEST, chain_constant
from ._layers import LinearMap
from ._operator_norm import MATRIX_ENTRIES, column_norm, dense_matrix, infinity_norm, spectral_norm


class LayerBound(NamedTuple):
    """A row of the table behind a Lipschitz constant."""

    name: str
    """The layers; "a + b" where they were measured together."""
    value: float
    """Their factor; of the first layers, with respect to the norm of the input."""
    total: float
    """The constant from the input to here."""
    how: str
    """What the factor is: an "exact" norm, "bounds" on norms, a "slope", a "sum" or a "join" of branches, or
    "ellipsoids" that replace the product of several of these."""


@dataclass(frozen=True)
class Segment:
    """A tensor of a net, as linear maps since the last place whose constant is known."""

    start: float
    """The constant at that place; at the input itself, that of the identity from `norm` to L2."""
    shape: tuple[int, ...]
    """The shape there, with a leading axis of 1."""
    norm: Norm = "L2"
    """The norm there: L2, but at the input the one asked for."""
    maps: tuple[LinearMap, ...] = ()
    before: Segment | None = None
    """What an elementwise monotone function came from that ends there."""
    slope: float = 1.0
    """The steepest slope of that function."""
    max_entries: int = MATRIX_ENTRIES
    """Products of maps with more entries are not made."""

    def then(self, item: LinearMap) -> Segment:
        """Append a map. Factors per channel become part of the layer before them.

        Args:
            item: The map.

        Returns:
            The longer segment.
        """
        last = self.maps[-1] if self.maps else None
        if item.factors is not None and last is not None and last.scaled is not None:
            merged = replace(last.scaled(item.factors), name=f"{last.name} + {item.name}")
            return replace(self, maps=(*self.maps[:-1], merged))
        return replace(self, maps=(*self.maps, item))

    @cached_property
    def name(self) -> str:
        """The layers whose names matter."""
        return " + ".join(item.name for item in self.maps if item.name)

    @cached_property
    def matrix(self) -> torch.Tensor | None:
        """The product of the maps if it can be decomposed."""
        weighted = any(item.weighted for item in self.maps)
        return dense_matrix(self._apply, self.shape, self.max_entries) if weighted else None

    @cached_property
    def end(self) -> LayerBound:
        """The constant after the maps: the start times the norm of their product, or a bound on it."""
        if self.matrix is None:
            value = math.prod(item.norm() for item in self.maps)
            how = "bounds" if any(item.weighted for item in self.maps) else "exact"
        else:
            value, how = spectral_norm(self.matrix), "exact"
        total = self.start * value
        if self.norm == "L2":
            return LayerBound(self.name, value, total, how)
        if self.matrix is not None and self.norm == "L1":
            total = column_norm(self.matrix)
        elif self.matrix is not None:
            total, how = min(total, infinity_norm(self.matrix)), "bounds"
        return LayerBound(self.name, total, total, how)

    @cached_property
    def constant(self) -> LayerBound:
        """The smallest constant after the maps that is known, by ellipsoids where they apply."""
        if not self.maps and self.before is not None:
            before = self.before.constant
            return before._replace(total=self.slope * before.total)
        links = [self]
        while links[0].before is not None and _can_link(links[0]) and _can_link(links[0].before, LARGEST):
            links.insert(0, links[0].before)
        first = links[0]
        start = first.start if first.before is None else first.slope * first.before.constant.total
        if len(links) == 1:
            return self.end if start == self.start else self.end._replace(total=start * self.end.value)
        matrices = [link.matrix for link in links if link.matrix is not None]
        total = chain_constant(matrices, [link.slope for link in links[1:]], start, first.norm)
        if total >= self.end.total:
            return self.end
        name = ", ".join(link.name for link in links)
        at_input = start if first.norm == "L2" else 1.0
        return LayerBound(name, total / at_input if at_input else 0.0, total, "ellipsoids")

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        for item in self.maps:
            x = item.apply(x)
        return x


def _can_link(segment: Segment, largest: int | None = None) -> bool:
    return segment.matrix is not None and (largest is None or len(segment.matrix) <= largest)
