"""The region of inputs that a bound holds on, ball ∩ clip box, and the largest value of linear functions on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ..typing import Norm
from ._rounding import gamma, rounded_up
from ._rows import Pairing, Rows, as_shape, laid_out, with_zero_beyond

_ITERATIONS = 40
"""Maximum number of steps towards the best multiplier of an L2 ball; every step yields a bound."""


@dataclass
class Ball:
    """All ξ with ‖ξ − x‖ ≤ δ within the clip range, around the samples x of one batch.

    A sample may be slightly outside the clip range; the range is then widened to contain it.
    """

    x: torch.Tensor
    """Shape (n, *shape)."""
    delta: float
    """δ ≥ 0, in units of the inputs."""
    norm: Norm
    clip: tuple[torch.Tensor, torch.Tensor]
    """Smallest and largest value of an input, broadcastable to one sample."""

    def __post_init__(self) -> None:
        low, high = (torch.broadcast_to(c.to(self.x), self.x.shape) for c in self.clip)
        margin = gamma(0, self.x.dtype)
        slack = margin * (self.x.abs() + torch.maximum(low.abs(), high.abs()))
        down = torch.where(low < self.x, self.x - low + slack, 0.0)
        up = torch.where(high > self.x, high - self.x + slack, 0.0)
        self.radius = self.delta * (1 + margin)
        self.down = laid_out(down.clamp(max=self.radius))
        """Largest decrease of each element, in layout."""
        self.up = laid_out(up.clamp(max=self.radius))
        self.centre = laid_out(self.x)
        size = self.centre.abs() + torch.maximum(self.up, self.down)
        self.error = gamma(self.centre[0].numel(), self.x.dtype) * size
        """Rounding error of a sum over the input, per unit of a coefficient, in layout."""

    def sample(self, i: int) -> Ball:
        """The region around one sample."""
        return self._around(self.x[i : i + 1])

    def repeated(self, n: int) -> Ball:
        """The region around one sample, n times."""
        return self._around(self.x.expand(n, *self.x.shape[1:]))

    def _around(self, x: torch.Tensor) -> Ball:
        return Ball(x, self.delta, self.norm, self.clip)

    @property
    def box(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Bounds of each element, shape (n, *shape)."""
        slack = gamma(0, self.x.dtype) * (self.centre.abs() + self.up + self.down)
        ends = (self.centre - self.down - slack, self.centre + self.up + slack)
        lower, upper = (as_shape(e, self.x.shape[1:]) for e in ends)
        return lower.contiguous(), upper.contiguous()

    def largest(self, rows: Rows, *, tight: bool) -> torch.Tensor:
        """An upper bound on each row's largest value.

        Args:
            rows: Rows of the input.
            tight: Whether to find the exact optimum in L2, which takes several passes.

        Returns:
            Shape (r,).
        """
        if self.norm == "Linf":
            return self._box.sums(rows, rows.coefs, rows.coefs.abs())
        centre = self._point.sums(rows, rows.coefs, rows.coefs.abs())
        if self.norm == "L2" and not tight:
            return centre + self._one_sided(rows)
        up, down = self._reach(rows)
        room = torch.where(rows.coefs > 0, up, down).flatten(1)
        a = torch.where(room > 0, rows.coefs.abs().flatten(1), 0.0)
        increase = self._largest_l2(a, room) if self.norm == "L2" else self._largest_l1(a, room)
        return centre + rounded_up(torch.minimum(increase, (a * room).sum(1)))

    @property
    def can_move(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Whether each element can increase and decrease, as 0 and 1, shape (n, *shape)."""
        up, down = (as_shape((t > 0).to(self.x.dtype), self.x.shape[1:]) for t in (self.up, self.down))
        return up.contiguous(), down.contiguous()

    @cached_property
    def _box(self) -> Pairing:
        """Sums over the whole box: the middle of each side, and half its length."""
        return Pairing(self.centre + (self.up - self.down) / 2, (self.up + self.down) / 2 + 2 * self.error)

    @cached_property
    def _point(self) -> Pairing:
        """Sums at the samples."""
        return Pairing(self.centre, 2 * self.error)

    @cached_property
    def _moves(self) -> Pairing:
        """Whether an element can move, as 0 and 1: up for a positive coefficient, else down."""
        up, down = (self.up > 0).to(self.x.dtype), (self.down > 0).to(self.x.dtype)
        return Pairing((up - down) / 2, (up + down) / 2)

    def _one_sided(self, rows: Rows) -> torch.Tensor:
        """δ times the norm of the coefficients whose elements can move in the direction that raises the row."""
        square = rows.coefs * rows.coefs
        total = self._moves.sums(rows, rows.coefs * rows.coefs.abs(), square).clamp(min=0)
        # the two sums cancel where an element cannot move: the error is γ of the sum of squares
        rounding = gamma(square[0].numel(), square.dtype) * square.flatten(1).sum(1)
        return rounded_up((total + 2 * rounding).sqrt() * self.radius)

    @cached_property
    def _reach_table(self) -> torch.Tensor:
        return with_zero_beyond(torch.stack([self.up, self.down], dim=3))

    def _reach(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        _, height, width, channels = self.up.shape
        reach = rows.gathered(self._reach_table, (height, width, channels))
        return reach[..., 0, :], reach[..., 1, :]

    def _largest_l2(self, a: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
        """The Lagrangian dual: for every μ > 0, Σ max over 0 ≤ d ≤ room of (a d − μd²/2), + μδ²/2.

        μ starts at ‖a‖/δ, which is the bound without the box, and falls to where ‖d‖ = δ.

        Args:
            a: Coefficients ≥ 0 in the direction that raises each row, shape (r, d).
            room: Largest movement of each element in that direction.

        Returns:
            Shape (r,).
        """
        delta = self.radius
        mu = (torch.linalg.vector_norm(a, dim=1) / delta).clamp(min=torch.finfo(a.dtype).tiny)
        error = gamma(a.shape[1], a.dtype)
        best = torch.full_like(mu, torch.inf)
        for _ in range(_ITERATIONS):
            d = torch.minimum(a / mu[:, None], room)
            value = (d * (a - mu[:, None] / 2 * d)).sum(1) + mu * delta * delta / 2
            best = torch.fmin(best, value + error * (value.abs() + 2 * mu * delta * delta))
            clamped = d >= room
            remaining = delta * delta - (d * d * clamped).sum(1)
            free = (a * a * ~clamped).sum(1)
            following = (free / remaining.clamp(min=torch.finfo(a.dtype).tiny)).sqrt()
            following = torch.where((remaining > 0) & (following > 0), following, mu)
            if bool((following > (1 - 1e-7) * mu).all()):  # the bound is flat in μ near the best one
                break
            mu = torch.minimum(mu, following)
        return best

    def _largest_l1(self, a: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
        """The dual λδ + Σ (a − λ)⁺ room at the coefficient where moving the largest ones first uses up δ."""
        order = a.argsort(dim=1, descending=True)
        sorted_a, spent = a.gather(1, order), room.gather(1, order).cumsum(1)
        last = (spent < self.radius).sum(1, keepdim=True)
        enough = last < a.shape[1]
        level = sorted_a.gather(1, last.clamp(max=a.shape[1] - 1)) * enough
        value = level[:, 0] * self.radius + ((a - level).clamp(min=0) * room).sum(1)
        return value * (1 + gamma(a.shape[1], a.dtype))
