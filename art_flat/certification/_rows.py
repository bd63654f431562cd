"""Rows: linear functions of a node's value; one bound is computed per row.

The layout of a node's value is (height, width, channels); vectors are 1×1 images. A row is whole, with a
coefficient for every element, or holds only the window in which its coefficients are not 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch.nn import functional as F

Layout = tuple[int, int, int]
"""Height, width and channels."""


def layout_of(shape: Sequence[int]) -> Layout:
    """The layout of the value of one sample: (c, h, w) and (c, l) are images, other shapes are one vector.

    Args:
        shape: Shape of the value.

    Returns:
        Height, width and channels.

    >>> layout_of((3, 8, 9)), layout_of((3, 9)), layout_of((7,))
    ((8, 9, 3), (1, 9, 3), (1, 1, 7))
    """
    if len(shape) == 3:
        return shape[1], shape[2], shape[0]
    if len(shape) == 2:
        return 1, shape[1], shape[0]
    return 1, 1, math.prod(shape)


def laid_out(values: torch.Tensor) -> torch.Tensor:
    """Values (n, *shape) as (n, height, width, channels), contiguous."""
    if values.ndim == 4:
        return values.permute(0, 2, 3, 1).contiguous()
    if values.ndim == 3:
        return values.permute(0, 2, 1).unsqueeze(1).contiguous()
    return values.reshape(values.shape[0], 1, 1, -1)


def as_shape(values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Values (n, height, width, channels) as (n, *shape): the inverse of `laid_out`."""
    if len(shape) == 3:
        return values.permute(0, 3, 1, 2)
    if len(shape) == 2:
        return values[:, 0].permute(0, 2, 1)
    return values.reshape(values.shape[0], *shape)


@dataclass(frozen=True)
class Owners:
    """The sample that each row belongs to, in runs of rows with the same one."""

    index: torch.Tensor
    """int64, shape (r,), sorted."""

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        """(sample, start, stop) of each run."""
        samples, counts = torch.unique_consecutive(self.index, return_counts=True)
        stops = counts.cumsum(0).tolist()
        return list(zip(samples.tolist(), [0, *stops[:-1]], stops, strict=True))

    @cached_property
    def even(self) -> slice | None:
        """The samples, if they are consecutive and all have the same number of rows; else None."""
        first, last = self.runs[0][0], self.runs[-1][0]
        lengths = {b - a for _, a, b in self.runs}
        return slice(first, last + 1) if len(lengths) == 1 and last - first + 1 == len(self.runs) else None


@dataclass(frozen=True)
class Rows:
    """r linear functions of a node's value, sorted by sample."""

    coefs: torch.Tensor
    """Coefficients, shape (r, h, w, channels)."""
    owners: Owners
    corner: torch.Tensor | None = None
    """Row and column of each window's upper left element, int64, shape (r, 2), possibly outside the image; None
    for whole rows."""
    inside: bool = True
    """Whether every coefficient outside the image is 0."""
    unit: tuple[torch.Tensor, torch.Tensor] | None = None
    """(channel, sign) of each row if it is ± one element."""
    charged: bool = False
    """Whether the rounding error of the node's value is already part of the bound."""
    merged: bool = False
    """Whether the coefficients are sums over several users of the node."""

    def __len__(self) -> int:
        return self.coefs.shape[0]

    @property
    def sample(self) -> torch.Tensor:
        """The sample that each row belongs to, int64, shape (r,)."""
        return self.owners.index

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the coefficients."""
        return self.coefs.shape[1], self.coefs.shape[2]

    def positions(self, height: int, width: int, beyond: int) -> torch.Tensor:
        """Flat index of every window element among the images of all samples, `beyond` for those outside.

        Returns:
            int64, shape (r, h, w).
        """
        assert self.corner is not None
        h, w = self.window
        device = self.sample.device
        y = self.corner[:, :1] + torch.arange(h, device=device)
        x = self.corner[:, 1:] + torch.arange(w, device=device)
        row = (self.sample[:, None] * height + y) * width
        row = row.masked_fill((y < 0) | (y >= height), -beyond - width)
        x = x.masked_fill((x < 0) | (x >= width), -beyond - beyond)
        index = row[:, :, None] + x[:, None, :]
        return index.masked_fill_(index < 0, beyond)

    def gathered(self, values: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Per-sample values at the elements of each row, 0 outside the image.

        Args:
            values: Shape (n·height·width + 1, ...); the last entry is for elements outside.
            layout: Layout of the node.

        Returns:
            Shape (r, h, w, ...).
        """
        height, width, _ = layout
        if self.corner is None:
            images = values[:-1].view(-1, height, width, *values.shape[1:])
            return images.index_select(0, self.sample)
        index = self.positions(height, width, values.shape[0] - 1)
        return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])

    def cut(self, layout: Layout) -> Rows:
        """The same rows with 0 for every coefficient outside the image."""
        if self.inside or self.corner is None:
            return self
        height, width, _ = layout
        h, w = self.window
        y = self.corner[:, :1] + torch.arange(h, device=self.sample.device)
        x = self.corner[:, 1:] + torch.arange(w, device=self.sample.device)
        mask = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
        return replace(self, coefs=self.coefs * mask[..., None], inside=True)

    def whole(self, layout: Layout) -> Rows:
        """The same rows with a coefficient for every element of the image."""
        if self.corner is None:
            return self
        height, width, channels = layout
        index = self._own_positions(height, width).flatten()
        coefs = self.coefs.new_zeros(len(self) * height * width + 1, channels)
        coefs = coefs.index_copy(0, index, self.coefs.reshape(-1, channels))
        whole = coefs[:-1].view(len(self), height, width, channels)
        return replace(self, coefs=whole, corner=None, inside=True, unit=None)

    def _own_positions(self, height: int, width: int) -> torch.Tensor:
        numbered = replace(self, owners=Owners(torch.arange(len(self), device=self.sample.device)))
        return numbered.positions(height, width, len(self) * height * width)

    def whole_if_larger(self, layout: Layout) -> Rows:
        """Whole rows where the window is as large as the image."""
        h, w = self.window
        return self.whole(layout) if h * w >= layout[0] * layout[1] else self

    def plus(self, other: Rows, layout: Layout) -> Rows:
        """The sum of two sets of rows of the same samples."""
        if self.corner is None or other.corner is None or not self._aligned(other):
            coefs = self.whole(layout).coefs + other.whole(layout).coefs
            return Rows(coefs, self.owners, merged=True)
        first = torch.minimum(self.corner[0], other.corner[0])
        ends = [r.corner[0] + torch.tensor(r.window, device=first.device) for r in (self, other)]  # type: ignore[index]
        size = torch.maximum(*ends) - first
        a, b = (r._placed(first, size) for r in (self, other))
        corner = self.corner - (self.corner[0] - first)
        return Rows(a + b, self.owners, corner, self.inside and other.inside, merged=True)

    def _aligned(self, other: Rows) -> bool:
        assert self.corner is not None
        assert other.corner is not None
        shift = other.corner - self.corner
        return bool((shift == shift[:1]).all())

    def _placed(self, first: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        assert self.corner is not None
        top, left = (self.corner[0] - first).tolist()
        height, width = size.tolist()
        h, w = self.window
        return F.pad(self.coefs, (0, 0, left, width - w - left, top, height - h - top))

    def take(self, start: int, stop: int) -> Rows:
        """Rows from `start` to `stop`."""
        corner = None if self.corner is None else self.corner[start:stop]
        unit = None if self.unit is None else (self.unit[0][start:stop], self.unit[1][start:stop])
        owners = Owners(self.sample[start:stop])
        return Rows(self.coefs[start:stop], owners, corner, self.inside, unit)


def dot(rows: Rows, coefs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Sum over each whole row's elements of coefficient times value.

    Args:
        rows: Whole rows.
        coefs: Shape (r, h, w, channels), `rows.coefs` or a function of it.
        values: Per sample, shape (n, height, width, channels).

    Returns:
        Shape (r,).
    """
    flat, per_sample = coefs.flatten(1), values.flatten(1)
    even = rows.owners.even
    if even is not None:
        per_sample = per_sample[even]
        return (flat.view(len(per_sample), -1, flat.shape[1]) @ per_sample[:, :, None]).flatten()
    return torch.cat([flat[a:b] @ per_sample[i] for i, a, b in rows.owners.runs])


def with_zero_beyond(values: torch.Tensor) -> torch.Tensor:
    """Values (n, height, width, ...) as (n·height·width + 1, ...), with zeros for what lies outside."""
    flat = values.flatten(0, 2)
    return torch.cat([flat, flat.new_zeros(1, *flat.shape[1:])])


class Pairing:
    """Two values per element, for sums Σ A·mean + |A|·half over rows A."""

    def __init__(self, mean: torch.Tensor, half: torch.Tensor) -> None:
        self.mean, self.half = mean, half

    @cached_property
    def _table(self) -> torch.Tensor:
        return with_zero_beyond(torch.stack([self.mean, self.half], dim=3))

    def sums(self, rows: Rows, coefs: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """Σ coefs·mean + size·half over each row's elements, shape (r,).

        Args:
            rows: The rows of the coefficients.
            coefs: Shape (r, h, w, channels).
            size: |coefs| in the case of a bound.

        Returns:
            Shape (r,).
        """
        if rows.corner is None:
            return dot(rows, coefs, self.mean) + dot(rows, size, self.half)
        layout = (self.mean.shape[1], self.mean.shape[2], self.mean.shape[3])
        gathered = rows.gathered(self._table, layout)
        return (coefs * gathered[..., 0, :]).addcmul_(size, gathered[..., 1, :]).flatten(1).sum(1)
