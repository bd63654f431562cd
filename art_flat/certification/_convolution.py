"""Convolutions, with rows that carry only the window they depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch.nn import functional as F

from ._affine import Affine, Shape
from ._rows import Rows, layout_of

Pair = tuple[int, int]
_ABSOLUTE: Pair = (-1, -1)


@dataclass
class Convolution(Affine):
    """A convolution with zero padding; one along a single axis is one along the width."""

    weight: torch.Tensor
    """Shape (channels out, channels in / groups, kernel height, kernel width)."""
    bias: torch.Tensor | None
    before: Shape
    after: Shape
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int = 1
    magnitude: torch.Tensor | None = None
    """Sum of the magnitudes that the bias was computed from, if it was."""
    _matrices: dict[Pair, torch.Tensor] = field(default_factory=dict, repr=False)
    """By window; (0, 0) for the weights as one matrix, `_ABSOLUTE` for their magnitudes."""

    def __post_init__(self) -> None:
        out, into, height, width = self.weight.shape
        self.terms = max(out, into) * height * width + out * height * width

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self._convolve(v, self.weight, self.bias)

    def spread(self, radius: torch.Tensor) -> torch.Tensor:
        return self._convolve(radius, self._absolute(), None)

    def _absolute(self) -> torch.Tensor:
        """|W|, kept for the next bounds unless weights are trained."""
        if self.weight.requires_grad:
            return self.weight.abs()
        if _ABSOLUTE not in self._matrices:
            self._matrices[_ABSOLUTE] = self.weight.abs()
        return self._matrices[_ABSOLUTE]

    def spread_square(self, up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        positive, negative = (w.clamp(min=0).square() for w in (self.weight, -self.weight))
        rise = self._convolve(up, positive, None) + self._convolve(down, negative, None)
        return rise, self._convolve(down, positive, None) + self._convolve(up, negative, None)

    def offset(self) -> torch.Tensor | None:
        magnitude = self.bias.abs() if self.magnitude is None and self.bias is not None else self.magnitude
        return None if magnitude is None else magnitude.reshape(-1, *[1] * (len(self.after) - 1))

    def _convolve(self, v: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        image = v.unsqueeze(2) if v.ndim == 3 else v
        result = F.conv2d(image, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return result.squeeze(2) if v.ndim == 3 else result

    def pull(self, rows: Rows) -> tuple[Rows, torch.Tensor | None]:
        rows = rows.cut(layout_of(self.after))
        const = None if self.bias is None else rows.coefs.sum((1, 2)) @ self.bias
        height, width, _ = layout_of(self.before)
        coefs = self._unit_windows(rows) if self._is_unit(rows) else self._windows(rows.coefs)
        (top, left), (h, w) = self.padding, coefs.shape[1:3]
        if rows.corner is None:
            coefs = F.pad(coefs, (0, 0, -left, width + left - w, -top, height + top - h))
            return Rows(coefs, rows.owners), const
        step = rows.corner.new_tensor(self.stride)
        corner = rows.corner * step - rows.corner.new_tensor(self.padding)
        result = Rows(coefs, rows.owners, corner, inside=False)
        return result.whole_if_larger((height, width, coefs.shape[3])), const

    def _is_unit(self, rows: Rows) -> bool:
        return rows.unit is not None and rows.window == (1, 1)

    def _unit_windows(self, rows: Rows) -> torch.Tensor:
        assert rows.unit is not None
        channel, sign = rows.unit
        h, w = self.window_before(1, 1)
        windows = self._products().view(-1, h, w, self.before[0]) if self._dense((h, w)) else None
        if windows is None:
            return self._windows(rows.coefs)
        return windows[channel] * sign[:, None, None, None]

    def _dense(self, window: Pair) -> bool:
        return window == (self.weight.shape[2], self.weight.shape[3])

    def window_before(self, h: int, w: int) -> Pair:
        """Size of the window on the argument that a window of h × w elements of the result depends on."""
        kernel = self.weight.shape[2], self.weight.shape[3]
        return window_before((h, w), kernel, self.stride, self.dilation)

    def _windows(self, coefs: torch.Tensor) -> torch.Tensor:
        """Rows times the convolution's matrix: (r, h, w, out) to (r, h', w', in)."""
        h, w = coefs.shape[1:3]
        height, width = self.window_before(h, w)
        if self._has_matrix((h, w)):
            matrix = self._matrix(h, w)
            return (coefs.flatten(1) @ matrix).view(-1, height, width, self.before[0])
        return self._folded(coefs)

    def _has_matrix(self, window: Pair) -> bool:
        """Whether a matrix between whole windows is used; it depends on shapes alone, as do all bounds."""
        pairs = math.prod(window) * math.prod(self.window_before(*window))
        sums = math.prod(window) * math.prod(self.weight.shape[2:])
        entries = pairs * self.before[0] * self.weight.shape[0]
        return pairs <= min(_DENSE_COST * sums, _DENSE_PAIRS) and entries <= _DENSE_ENTRIES

    def row_operations(self, window: Pair) -> float:
        """Operations of a row's product with the matrix, for a window of results."""
        channels = self.before[0] * self.weight.shape[0]
        if self._has_matrix(window):
            return float(math.prod(window) * math.prod(self.window_before(*window)) * channels)
        return float(math.prod(window) * math.prod(self.weight.shape[2:]) * channels)

    def _matrix(self, h: int, w: int) -> torch.Tensor:
        """The matrix from windows of h × w elements of the result to those of the argument."""
        if (h, w) not in self._matrices:
            size = h * w * self.weight.shape[0]
            one = torch.eye(size, dtype=self.weight.dtype, device=self.weight.device)
            self._matrices[h, w] = self._folded(one.view(size, h, w, -1)).flatten(1)
        return self._matrices[h, w]

    def _folded(self, coefs: torch.Tensor) -> torch.Tensor:
        """One product for all elements of the windows, and a sum over their positions."""
        r, h, w, out = coefs.shape
        kernel = self.weight.shape[2:]
        parts = (coefs.reshape(-1, out) @ self._products()).view(r, h, w, *kernel, self.before[0])
        result = coefs.new_zeros(r, *self.window_before(h, w), self.before[0])
        for y in range(kernel[0]):
            for x in range(kernel[1]):
                landing(result, (y, x), self.stride, self.dilation, (h, w)).add_(parts[:, :, :, y, x])
        return result

    def _products(self) -> torch.Tensor:
        """The weights of all groups as (channels out, kernel height · width · channels in)."""
        if (0, 0) not in self._matrices:
            out, into, height, width = self.weight.shape
            full = self.weight.new_zeros(self.groups, out // self.groups, height, width, self.groups, into)
            by_group = self.weight.view(self.groups, -1, into, height, width).permute(0, 1, 3, 4, 2)
            for group in range(self.groups):
                full[group, :, :, :, group] = by_group[group]
            self._matrices[0, 0] = full.reshape(out, -1)
        return self._matrices[0, 0]


_DENSE_COST = 8
"""Maximum cost of a dense matrix, relative to the convolution itself."""
_DENSE_PAIRS = 4096
"""Largest number of pairs of elements in such a matrix, per pair of channels."""
_DENSE_ENTRIES = 1 << 21
"""Largest number of entries of such a matrix, 16 MiB: with many channels, building it costs more than it saves."""


def landing(image: torch.Tensor, tap: Pair, stride: Pair, dilation: Pair, window: Pair) -> torch.Tensor:
    """The elements (r, h, w, channels) of an image under one tap of a sliding window of h × w results.

    Returns:
        A view.
    """
    y, x = tap[0] * dilation[0], tap[1] * dilation[1]
    (h, w), (down, right) = window, stride
    return image[:, y : y + (h - 1) * down + 1 : down, x : x + (w - 1) * right + 1 : right]


def window_before(window: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    """Size of the window on the argument that a window of results of a sliding kernel depends on."""
    height, width = (
        (size - 1) * step + far * (reach - 1) + 1
        for size, reach, step, far in zip(window, kernel, stride, dilation, strict=True)
    )
    return height, width
