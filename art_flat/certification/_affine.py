"""Affine steps of a net, v ↦ W v + b: propagation of values, magnitudes and rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ._rows import Rows, as_shape, laid_out, layout_of

Shape = tuple[int, ...]


class Affine(ABC):
    """A step v ↦ W v + b with one argument."""

    terms: int
    """Length of the longest sum in it or in its transpose."""

    @abstractmethod
    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """W v + b for values (n, *shape)."""

    @abstractmethod
    def spread(self, radius: torch.Tensor) -> torch.Tensor:
        """|W| r for radii r ≥ 0, shape (n, *shape)."""

    def spread_square(self, up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Sums of squares of the coefficients that can raise and lower each result, or None if they are expensive.

        Args:
            up: Weight of an element's increase, ≥ 0, shape (n, *shape).
            down: Weight of its decrease.

        Returns:
            Σ W²·(up where W > 0, down where W < 0), and the same with up and down exchanged.
        """
        return None

    @abstractmethod
    def offset(self) -> torch.Tensor | None:
        """|b| including the magnitudes it was computed from, broadcastable to the result; None without b."""

    @abstractmethod
    def pull(self, rows: Rows) -> tuple[Rows, torch.Tensor | None]:
        """Rows A of the result as rows A W of the argument, and A b of shape (r,)."""


@dataclass
class Linear(Affine):
    """A linear layer on vectors."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    magnitude: torch.Tensor | None = None
    """Sum of the magnitudes that the bias was computed from, if it was."""

    def __post_init__(self) -> None:
        self.terms = max(self.weight.shape)

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(v, self.weight, self.bias)

    def spread(self, radius: torch.Tensor) -> torch.Tensor:
        return radius @ self.weight.abs().T

    def spread_square(self, up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        positive, negative = (w.clamp(min=0).square().T for w in (self.weight, -self.weight))
        return up @ positive + down @ negative, down @ positive + up @ negative

    def offset(self) -> torch.Tensor | None:
        return self.bias.abs() if self.magnitude is None and self.bias is not None else self.magnitude

    def pull(self, rows: Rows) -> tuple[Rows, torch.Tensor | None]:
        if rows.unit is not None:
            channel, sign = rows.unit
            coefs = self.weight[channel] * sign[:, None]
            const = None if self.bias is None else self.bias[channel] * sign
        else:
            flat = rows.coefs.flatten(1)
            coefs = flat @ self.weight
            const = None if self.bias is None else flat @ self.bias
        return Rows(coefs[:, None, None], rows.owners), const


@dataclass
class Scale(Affine):
    """A factor and a shift per element, such as batch normalisation in evaluation mode."""

    factor: torch.Tensor
    """Broadcastable to the value of one sample."""
    shift: torch.Tensor
    shape: Shape
    magnitude: torch.Tensor
    """Sum of the magnitudes that the shift was computed from, broadcastable like it."""

    def __post_init__(self) -> None:
        self.terms = layout_of(self.shape)[0] * layout_of(self.shape)[1]

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return v * self.factor + self.shift

    def spread(self, radius: torch.Tensor) -> torch.Tensor:
        return radius * self.factor.abs()

    def spread_square(self, up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        square, rises = self.factor.square(), self.factor > 0
        return square * torch.where(rises, up, down), square * torch.where(rises, down, up)

    def offset(self) -> torch.Tensor | None:
        return self.magnitude

    def pull(self, rows: Rows) -> tuple[Rows, torch.Tensor | None]:
        layout = layout_of(self.shape)
        rows = rows.cut(layout)
        factor, shift = (self._laid_out(t) for t in (self.factor, self.shift))
        if factor.shape[0] * factor.shape[1] > 1 or shift.shape[0] * shift.shape[1] > 1:
            rows = rows.whole(layout)
        const = (rows.coefs * shift).flatten(1).sum(1)
        return Rows(rows.coefs * factor, rows.owners, rows.corner), const

    def _laid_out(self, t: torch.Tensor) -> torch.Tensor:
        """Per element as (height, width, channels), with 1×1 where all elements of a channel agree."""
        if len(self.shape) in {2, 3}:
            t = t.reshape(*[1] * (len(self.shape) - t.ndim), *t.shape)
            if all(size == 1 for size in t.shape[1:]):
                return t.expand(self.shape[0], *t.shape[1:]).reshape(1, 1, -1)
        return laid_out(t.expand(self.shape)[None])[0]


@dataclass
class Reshape(Affine):
    """A change of shape in row-major order."""

    before: Shape
    after: Shape

    def __post_init__(self) -> None:
        self.terms = 0

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return v.reshape(v.shape[0], *self.after)

    def spread(self, radius: torch.Tensor) -> torch.Tensor:
        return self.forward(radius)

    def spread_square(self, up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward(up), self.forward(down)

    def offset(self) -> torch.Tensor | None:
        return None

    def pull(self, rows: Rows) -> tuple[Rows, torch.Tensor | None]:
        whole = rows.whole(layout_of(self.after))
        values = as_shape(whole.coefs, self.after).reshape(len(rows), *self.before)
        return Rows(laid_out(values), rows.owners), None


@dataclass
class LinearFunction(Affine):
    """Any linear function; its transpose is computed by differentiation."""

    apply: Callable[[torch.Tensor], torch.Tensor]
    """W v for values (n, *before)."""
    apply_abs: Callable[[torch.Tensor], torch.Tensor]
    """|W| v."""
    before: Shape
    after: Shape
    bias: torch.Tensor | None = None
    """Broadcastable to `after`."""
    terms: int = 0

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self.apply(v) if self.bias is None else self.apply(v) + self.bias

    def spread(self, radius: torch.Tensor) -> torch.Tensor:
        return self.apply_abs(radius)

    def offset(self) -> torch.Tensor | None:
        return None if self.bias is None else self.bias.abs()

    def pull(self, rows: Rows) -> tuple[Rows, torch.Tensor | None]:
        coefs = as_shape(rows.cut(layout_of(self.after)).whole(layout_of(self.after)).coefs, self.after)
        zeros = coefs.new_zeros(len(rows), *self.before)
        (back,) = torch.func.vjp(self.apply, zeros)[1](coefs.contiguous())
        const = None if self.bias is None else (coefs * self.bias).flatten(1).sum(1)
        return Rows(laid_out(back), rows.owners), const


def nonnegative(apply: Callable[[torch.Tensor], torch.Tensor], before: Shape, after: Shape) -> LinearFunction:
    """A linear function whose matrix has no negative entry, such as a mean."""
    terms = max(_numel(before), _numel(after))
    return LinearFunction(apply, apply, before, after, terms=terms)


def _numel(shape: Sequence[int]) -> int:
    return int(torch.Size(shape).numel())
