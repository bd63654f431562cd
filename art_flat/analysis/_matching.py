"""Matches the rows of an attack's batch to samples by the nearest clean sample."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..functional import distance
from ..typing import Norm

_ORDER: dict[Norm, float] = {"Linf": math.inf, "L2": 2.0, "L1": 1.0, "L0": 0.0}
_CHUNK = 1 << 26
"""Maximum number of elements in one block of the distance table."""
_UNCHANGED = 1e-6
"""Share of the range below which an element counts as unchanged in L0: rescaling rounds."""


class Match(NamedTuple):
    """Rows of one batch, matched."""

    samples: torch.Tensor
    """Position of each row's sample, int64 (m,)."""
    distance: torch.Tensor
    """Distance of each row to its sample, float64 (m,)."""
    sure: torch.Tensor
    """Whether no other clean sample can be as near, bool (m,)."""


class Matcher:
    """Finds the nearest clean sample of each row, and uses the order of the rows to save work.

    A row that lies nearer to a clean sample than half of that sample's distance to any other belongs to it. Attacks
    almost always keep the order, so this is tested first on the whole batch in order, then on the rows of the
    previous batch, then on the nearest samples in L2; only the remaining rows need all distances in the norm itself.

    Args:
        x: Clean samples, shape (n, ...).
        norm: Norm of the distances.
        span: Size of the input range.
    """

    def __init__(self, x: torch.Tensor, norm: Norm, span: float) -> None:
        self.x, self.norm, self.tolerance = x, norm, _UNCHANGED * span
        self._rows = self._wide(x)
        distances = self._nearest(self._rows, torch.arange(len(x), device=x.device))[0]
        self.half = distances.double() / 2
        self._all = torch.arange(len(x), device=x.device)
        self._before = self._all

    @property
    def smallest_half(self) -> float:
        """Half of the smallest distance between two samples; infinite for one sample."""
        return float(self.half.min())

    def __call__(self, points: torch.Tensor) -> Match:
        """Match the rows of a batch.

        Args:
            points: Shape (m, ...), in the units of the clean samples.

        Returns:
            Samples, distances, and which of the matches are certain.
        """
        guess = self._all if len(points) == len(self._all) else self._before
        if len(guess) == len(points):
            match = self._measured(points, guess)
            if bool(match.sure.all()):
                return match
        else:
            match = self._measured(points, torch.zeros(len(points), dtype=torch.int64, device=points.device))
        rows = self._wide(points)
        for order in dict.fromkeys((2.0, _ORDER[self.norm])):
            doubtful = (~match.sure).nonzero()[:, 0]
            if len(doubtful):
                nearest = self._nearest(rows[doubtful], order=order)[1]
                better = self._measured(points[doubtful], nearest)
                match = Match(*(a.index_copy(0, doubtful, b) for a, b in zip(match, better, strict=True)))
        match = self._in_order(points, match)
        self._before = match.samples
        return match

    def _in_order(self, points: torch.Tensor, match: Match) -> Match:
        # In a whole batch whose sure rows are in order, the others most likely are too.
        if len(points) != len(self._all) or not bool((match.samples == self._all)[match.sure].all()):
            return match
        return self._measured(points, self._all)

    def _measured(self, points: torch.Tensor, samples: torch.Tensor) -> Match:
        clean = self.x[samples]
        if self.norm == "L0":
            length = ((points - clean).flatten(1).abs() > self.tolerance).sum(dim=1).double()
        else:
            length = distance(clean, points, self.norm)
        return Match(samples, length, length < self.half[samples])

    def _nearest(
        self, rows: torch.Tensor, excluded: torch.Tensor | None = None, order: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Distance to and position of the nearest clean sample, without those in `excluded`
        order = _ORDER[self.norm] if order is None else order
        size = max(1, _CHUNK // self._rows.numel())
        minima = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            table = torch.cdist(part, self._rows, p=order)
            if excluded is not None:
                table[torch.arange(len(part), device=part.device), excluded[start : start + size]] = torch.inf
            minima.append(table.min(dim=1))
        return torch.cat([f.values for f in minima]), torch.cat([f.indices for f in minima])

    @staticmethod
    def _wide(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
