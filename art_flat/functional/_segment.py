"""Linear layers in a row, measured together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch

from .._types import Norm
from ._layers import LinearMap
from ._operator_norm import column_norm, dense_matrix, infinity_norm, spectral_norm


class LayerBound(NamedTuple):
    """A row of the table behind a Lipschitz constant."""

    name: str
    """The layers; "a + b" where they were measured together."""
    value: float
    """Their factor; of the first layers, with respect to the norm of the input."""
    total: float
    """The constant from the input to here."""
    how: str
    """What the factor is: an "exact" norm, "bounds" on norms, a "slope", a "sum" or a "join" of branches."""


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
    def end(self) -> LayerBound:
        """The constant after the maps, from their product if it can be decomposed, else from their norms."""
        name = " + ".join(item.name for item in self.maps if item.name)
        weighted = any(item.weighted for item in self.maps)
        matrix = dense_matrix(self._apply, self.shape) if weighted else None
        if matrix is None:
            value = self.start * math.prod(item.norm() for item in self.maps)
            how = "bounds" if weighted else "exact"
        else:
            value = self.start * spectral_norm(matrix)
            how = "exact"
            if self.norm == "L1":
                value = column_norm(matrix)
            elif self.norm == "Linf":
                value = min(value, infinity_norm(matrix))
                how = "bounds"
        at_input = self.norm != "L2"
        return LayerBound(name, value if at_input else value / self.start, value, how)

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        for item in self.maps:
            x = item.apply(x)
        return x
