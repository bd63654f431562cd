"""Nonlinear steps in a graph: the arguments of each result, and backward propagation of rows through its two lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional as F

from ._affine import Shape
from ._convolution import Pair, landing, window_before
from ._relaxation import Nonlinearity, Relaxation
from ._rounding import gamma
from ._rows import Rows, as_shape, dot, laid_out, layout_of, with_zero_beyond

ONE: Pair = (1, 1)
NONE: Pair = (0, 0)


@dataclass(frozen=True)
class Activation:
    """A nonlinearity of the elements in a sliding window, which is a single element for all but pooling."""

    function: Nonlinearity
    before: Shape
    after: Shape
    kernel: Pair = ONE
    stride: Pair = ONE
    padding: Pair = NONE
    dilation: Pair = ONE

    @property
    def taps(self) -> list[Pair]:
        """(row, column) of the window's elements."""
        return [(y, x) for y in range(self.kernel[0]) for x in range(self.kernel[1])]

    @property
    def is_elementwise(self) -> bool:
        """Whether every result depends on the element at its own place alone."""
        return self.kernel == self.stride == ONE and self.padding == NONE

    def window_before(self, h: int, w: int) -> Pair:
        """Size of the window on the argument that a window of h × w elements of the result depends on."""
        return window_before((h, w), self.kernel, self.stride, self.dilation)

    def arguments(self, v: torch.Tensor) -> torch.Tensor:
        """The K arguments of every result, −∞ for those in the padding.

        Args:
            v: Values in layout, shape (n, height, width, channels).

        Returns:
            Shape (K, n, height out, width out, channels).
        """
        if self.is_elementwise:
            return v[None]
        return torch.stack([self._at(self._padded(v, -torch.inf), tap) for tap in self.taps])

    def _padded(self, v: torch.Tensor, value: float) -> torch.Tensor:
        """Values padded for all windows, including those that reach beyond the padding (`ceil_mode`)."""
        (top, left), (h, w, _) = self.padding, layout_of(self.after)
        ends = self.window_before(h, w)
        bottom, right = (
            max(0, end - size - before)
            for end, size, before in zip(ends, v.shape[1:3], self.padding, strict=True)
        )
        return F.pad(v, (0, 0, left, right, top, bottom), value=value)

    def _at(self, padded: torch.Tensor, tap: Pair) -> torch.Tensor:
        h, w, _ = layout_of(self.after)
        return landing(padded, tap, self.stride, self.dilation, (h, w))

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """y for values in layout."""
        return self.function.value(self.arguments(v))

    def undecided(self, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
        """Mask of the elements whose bounds matter, bool, in the layout of the bounds."""
        mask = self.function.undecided(self.arguments(lower), self.arguments(upper))
        padded_mask = self._padded(torch.zeros_like(lower), 0.0)
        for tap, of_tap in zip(self.taps, mask, strict=True):
            view = self._at(padded_mask, tap)
            view.copy_(torch.maximum(view, of_tap.to(view.dtype)))
        (top, left), (height, width) = self.padding, lower.shape[1:3]
        return padded_mask[:, top : top + height, left : left + width] > 0

    def relax(self, lower: torch.Tensor, upper: torch.Tensor, error: torch.Tensor) -> Lines:
        """The two lines of every result.

        Args:
            lower: Lower bounds of the arguments, in layout.
            upper: Upper bounds.
            error: Rounding error of each argument, per unit of a coefficient.

        Returns:
            The lines.
        """
        low, high, error = (self.arguments(t) for t in (lower, upper, error))
        size = torch.maximum(low.abs(), high.abs())
        return Lines.around(self, self.function.relax(low, high), size, error)

    def scattered(self, parts: list[torch.Tensor], rows: Rows) -> Rows:
        """Rows of the arguments from the coefficients (r, h, w, channels) that each tap receives."""
        if len(parts) == 1:
            return Rows(parts[0], rows.owners, rows.corner, charged=True)
        height, width, channels = layout_of(self.before)
        h, w = rows.window
        size = self.window_before(h, w)
        coefs = parts[0].new_zeros(len(rows), *size, channels)
        for tap, part in zip(self.taps, parts, strict=True):
            landing(coefs, tap, self.stride, self.dilation, (h, w)).add_(part)
        (top, left) = self.padding
        if rows.corner is None:
            ends = (0, 0, -left, width + left - size[1], -top, height + top - size[0])
            return Rows(F.pad(coefs, ends), rows.owners, charged=True)
        corner = rows.corner * rows.corner.new_tensor(self.stride) - rows.corner.new_tensor(self.padding)
        return Rows(coefs, rows.owners, corner, charged=True).whole_if_larger((height, width, channels))


@dataclass
class Lines:
    """The lines around an activation for every sample, prepared for the propagation of rows.

    A coefficient A ≥ 0 takes the upper line and A < 0 the lower one: A·mean + |A|·half, with mean and half
    difference of the two.
    """

    activation: Activation
    slope_mean: torch.Tensor
    """Shape (K, n, height, width, channels)."""
    slope_half: torch.Tensor
    intercept_mean: torch.Tensor
    """Shape (n, height, width, channels)."""
    intercept_half: torch.Tensor
    """Including the rounding errors per unit of a coefficient, here and in the arguments."""

    @classmethod
    def around(
        cls,
        activation: Activation,
        lines: Relaxation,
        size: torch.Tensor,
        error: torch.Tensor,
    ) -> Lines:
        """From a relaxation.

        Args:
            activation: The activation of the lines.
            lines: The relaxation.
            size: Largest magnitude of each argument, shape (K, n, height, width, channels).
            error: Rounding error of each argument, per unit of its coefficient, shape of `size`.

        Returns:
            The lines.
        """
        slopes = torch.maximum(lines.lower_slope.abs(), lines.upper_slope.abs())
        used = slopes > 0
        size, error = (torch.where(used, slopes * t, 0.0).sum(0) for t in (size, error))
        size = size + torch.maximum(lines.lower_intercept.abs(), lines.upper_intercept.abs())
        error = (1 + gamma(0, size.dtype)) * error + gamma(size[0].numel(), size.dtype) * size
        return cls(
            activation,
            (lines.upper_slope + lines.lower_slope) / 2,
            (lines.upper_slope - lines.lower_slope) / 2,
            (lines.upper_intercept + lines.lower_intercept) / 2,
            (lines.upper_intercept - lines.lower_intercept) / 2 + error,
        )

    def pull(self, rows: Rows) -> tuple[Rows, torch.Tensor]:
        """Rows A of the results as rows of the arguments, and the constants that bound them from above."""
        return self._pull_whole(rows) if rows.corner is None else self._pull_windows(rows)

    def _pull_whole(self, rows: Rows) -> tuple[Rows, torch.Tensor]:
        size = rows.coefs.abs()
        const = dot(rows, rows.coefs, self.intercept_mean) + dot(rows, size, self.intercept_half)
        even = rows.owners.even
        if even is not None:
            groups = (even.stop - even.start, -1, *rows.coefs.shape[1:])
            coefs, sizes = rows.coefs.view(groups), size.view(groups)
            lines = zip(self.slope_mean[:, even, None], self.slope_half[:, even, None], strict=True)
            parts = [torch.addcmul(coefs * mean, sizes, half).flatten(0, 1) for mean, half in lines]
            return self.activation.scattered(parts, rows), const
        parts = [torch.empty_like(rows.coefs) for _ in self.activation.taps]
        for i, a, b in rows.owners.runs:
            for k, part in enumerate(parts):
                torch.mul(rows.coefs[a:b], self.slope_mean[k, i], out=part[a:b])
                part[a:b].addcmul_(size[a:b], self.slope_half[k, i])
        return self.activation.scattered(parts, rows), const

    def _pull_windows(self, rows: Rows) -> tuple[Rows, torch.Tensor]:
        taps = len(self.activation.taps)
        factors = rows.gathered(self._table, layout_of(self.activation.after))
        size = rows.coefs.abs()
        parts = [
            torch.addcmul(rows.coefs * factors[..., 2 * k, :], size, factors[..., 2 * k + 1, :])
            for k in range(taps)
        ]
        const = rows.coefs * factors[..., 2 * taps, :]
        const = const.addcmul_(size, factors[..., 2 * taps + 1, :]).flatten(1).sum(1)
        return self.activation.scattered(parts, rows), const

    @cached_property
    def _table(self) -> torch.Tensor:
        """All factors of the elements of a window, concatenated."""
        columns = [t for pair in zip(self.slope_mean, self.slope_half, strict=True) for t in pair]
        columns += [self.intercept_mean, self.intercept_half]
        return with_zero_beyond(torch.stack(columns, dim=3))


def output_range(
    activation: Activation, lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounds of an activation's results from those of its arguments, both in the shape of the net's tensors."""
    margin = gamma(0, lower.dtype)
    low, high = (activation.forward(laid_out(t)) for t in (lower, upper))
    low, high = low - margin * low.abs(), high + margin * high.abs()
    return as_shape(low, activation.after), as_shape(high, activation.after)
