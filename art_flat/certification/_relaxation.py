"""Two lines around a nonlinear step, one above and one below, on an interval of its arguments.

A step takes the largest of K arguments x₁…x_K, or acts on one; the arguments' bounds are stacked in front,
shape (K, ...). Arguments that do not exist (padding of a pooling window) have both bounds at −∞.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ._rounding import gamma, rounded_up


class Relaxation(NamedTuple):
    """Σ lower_slope·x + lower_intercept ≤ y ≤ Σ upper_slope·x + upper_intercept."""

    lower_slope: torch.Tensor
    """Shape (K, ...)."""
    upper_slope: torch.Tensor
    lower_intercept: torch.Tensor
    """Shape (...)."""
    upper_intercept: torch.Tensor


class Nonlinearity(ABC):
    """A nonlinear function of K arguments that is nondecreasing in each of them."""

    @abstractmethod
    def value(self, x: torch.Tensor) -> torch.Tensor:
        """y for arguments (K, ...), shape (...)."""

    @abstractmethod
    def relax(self, lower: torch.Tensor, upper: torch.Tensor) -> Relaxation:
        """Two lines that hold wherever lower ≤ x ≤ upper, including rounding errors."""

    @abstractmethod
    def undecided(self, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
        """Mask of the arguments whose bounds matter, bool, shape (K, ...): where the lines leave a gap."""


@dataclass(frozen=True)
class Maximum(Nonlinearity):
    """y = max(floor, x₁, …, x_K): ReLU for K = 1 and a floor of 0, max pooling for a floor of −∞."""

    floor: float = 0.0

    def value(self, x: torch.Tensor) -> torch.Tensor:
        largest = x[0] if len(x) == 1 else x.amax(0)
        return largest.clamp(min=self.floor)

    def threshold(self, lower: torch.Tensor) -> torch.Tensor:
        """A lower bound of y."""
        return lower.amax(0).clamp(min=self.floor)

    def undecided(self, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
        return (upper > self.threshold(lower)) & ~self._leader(lower, upper)[1]

    def _leader(self, lower: torch.Tensor, upper: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask of the argument with the largest upper bound, 0 and 1 (K, ...), and where it is certain to be y."""
        leader = _first_largest(upper)
        lowest = torch.where(leader > 0, lower, -torch.inf).amax(0)
        return leader, lowest >= self._second(upper).clamp(min=self.floor)

    def _second(self, upper: torch.Tensor) -> torch.Tensor:
        if upper.shape[0] == 1:
            return torch.full_like(upper[0], -torch.inf)
        return upper.topk(2, dim=0).values[1]

    def relax(self, lower: torch.Tensor, upper: torch.Tensor) -> Relaxation:
        second = self._second(upper)
        base = torch.maximum(self.threshold(lower), second)
        above = upper > base
        slope, intercept = _chord(lower, upper, base, above)
        top = rounded_up(base + intercept.sum(0), base.abs() + intercept.abs().sum(0))
        centre = (lower + upper) / 2
        best = _first_largest(centre)
        below = best * (centre.amax(0) > 0) if self.floor == 0.0 else best
        one, exact = self._leader(lower, upper)
        top = torch.where(exact, 0.0, torch.where(upper.amax(0) <= self.floor, self.floor, top))
        return Relaxation(
            torch.where(exact, one, below), torch.where(exact, one, slope), torch.zeros_like(top), top
        )


def _first_largest(values: torch.Tensor) -> torch.Tensor:
    """1 for the first of the largest of K values, 0 for the others."""
    if values.shape[0] == 1:
        return torch.ones_like(values)
    largest = values == values.amax(0)
    return (largest & (largest.cumsum(0) == 1)).to(values.dtype)


def _chord(
    lower: torch.Tensor, upper: torch.Tensor, base: torch.Tensor, above: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The line above (x − base)⁺ through its values at both ends, with lower ≤ base < upper where `above`.

    Returns:
        Slope and intercept, 0 where not `above`.
    """
    low, high = torch.where(above, lower, 0.0), torch.where(above, upper, 1.0)
    height = high - torch.where(above, base, 0.0)
    slope = (height / (high - low)).clamp(0.0, 1.0)
    at_high, at_low = height - slope * high, -slope * low
    size = height.abs() + slope * (high.abs() + low.abs()) + base.abs().where(above, base.new_zeros(()))
    intercept = rounded_up(torch.maximum(at_high, at_low), size)
    return torch.where(above, slope, 0.0), torch.where(above, intercept, 0.0)


@dataclass(frozen=True)
class LeakyReLU(Nonlinearity):
    """y = max(a x, x) with 0 ≤ a ≤ 1."""

    slope: float

    def value(self, x: torch.Tensor) -> torch.Tensor:
        return torch.maximum(x[0], self.slope * x[0])

    def undecided(self, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
        return (lower < 0) & (upper > 0)

    def relax(self, lower: torch.Tensor, upper: torch.Tensor) -> Relaxation:
        open_ = self.undecided(lower, upper)
        low, high = torch.where(open_, lower, -1.0), torch.where(open_, upper, 1.0)
        ones = torch.ones_like(lower)
        side = torch.where(lower >= 0, ones, self.slope)
        chord = ((high - self.slope * low) / (high - low)).clamp(self.slope, 1.0)
        ends = torch.maximum(high - chord * high, (self.slope - chord) * low)
        intercept = rounded_up(ends, 2 * (high.abs() + low.abs()))
        below = torch.where(upper > -lower, ones, self.slope)
        return Relaxation(
            torch.where(open_, below, side),
            torch.where(open_, chord, side),
            torch.zeros_like(lower[0]),
            torch.where(open_, intercept, 0.0)[0],
        )


@dataclass(frozen=True)
class Clamp(Nonlinearity):
    """y = min(max(x, low), high), as in ReLU6 and Hardtanh."""

    low: float
    high: float

    def value(self, x: torch.Tensor) -> torch.Tensor:
        return x[0].clamp(self.low, self.high)

    def undecided(self, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
        kinks = ((lower < k) & (upper > k) for k in (self.low, self.high))
        return torch.stack(list(kinks)).any(0)

    def relax(self, lower: torch.Tensor, upper: torch.Tensor) -> Relaxation:
        above_slope, above = self._above(lower, upper, self.low, self.high)
        below_slope, below = self._above(-upper, -lower, -self.high, -self.low)
        return Relaxation(below_slope, above_slope, -below[0], above[0])

    @staticmethod
    def _above(
        lower: torch.Tensor, upper: torch.Tensor, low: float, high: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Slope and intercept of a line above min(max(x, low), high); by symmetry also one below.

        The line from the left end to the upper kink, or to the right end where that comes first, lies above;
        without a lower kink inside, x and the constant `high` do, of which the smaller area is taken.

        Returns:
            Slope and intercept.
        """
        left, right = lower.clamp(low, high), upper.clamp(low, high)
        end = torch.minimum(upper, torch.full_like(upper, high))
        steep = (lower < low) & (end > lower) & (right > left)
        run = torch.where(steep, end - lower, 1.0)
        slope = torch.where(steep, ((right - left) / run).clamp(0.0, 1.0), 0.0)
        rises = ~steep & (lower >= low) & ((upper <= high) | (high - lower > upper - high)) & (lower < high)
        slope = torch.where(rises, 1.0, slope)
        at_ends = torch.maximum(left - slope * lower, right - slope * upper)
        at_kink = torch.where((lower < high) & (upper > high), high - slope * high, at_ends)
        size = left.abs() + right.abs() + slope * (lower.abs() + upper.abs()) + abs(high)
        intercept = rounded_up(torch.maximum(at_ends, at_kink), size)
        exact = rises & (upper <= high)
        return slope, torch.where(exact, 0.0, intercept)


@dataclass(frozen=True)
class SShape(Nonlinearity):
    """Tanh or the logistic function: convex below 0, concave above, with f(x) − f(0) odd."""

    name: str

    def value(self, x: torch.Tensor) -> torch.Tensor:
        return self._f(x[0])

    def _f(self, x: torch.Tensor) -> torch.Tensor:
        return x.tanh() if self.name == "tanh" else x.sigmoid()

    def _derivative(self, x: torch.Tensor) -> torch.Tensor:
        y = self._f(x)
        return 1 - y * y if self.name == "tanh" else y * (1 - y)

    def undecided(self, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
        return upper > lower

    def relax(self, lower: torch.Tensor, upper: torch.Tensor) -> Relaxation:
        middle = 0.0 if self.name == "tanh" else 0.5
        slope, intercept = self._above(lower, upper)
        below, lowest = self._above(-upper, -lower)  # f(x) = 2 f(0) − f(−x)
        return Relaxation(below, slope, (2 * middle - lowest)[0], intercept[0])

    def _above(self, lower: torch.Tensor, upper: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The tangent that passes above the left end, or the chord where its point lies beyond the right end."""
        low_f, high_f = self._f(lower), self._f(upper)
        width = upper - lower
        wide = width > 1e-9
        chord = ((high_f - low_f) / torch.where(wide, width, 1.0)).clamp(0.0, 1.0)
        point = self._tangent_point(lower, upper)
        chord_holds = (upper <= 0) | (point >= upper)
        slope = torch.where(chord_holds, chord, self._derivative(point))
        slope = torch.where(wide, slope, 0.0)
        at_ends = torch.maximum(low_f - slope * lower, high_f - slope * upper)
        at_point = torch.where(chord_holds | ~wide, at_ends, self._f(point) - slope * point)
        size = 1 + lower.abs() + upper.abs() + point.abs()
        return slope, torch.maximum(at_ends, at_point) + gamma(64, lower.dtype) * size

    def _tangent_point(self, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
        """A point d ≥ 0 whose tangent lies above f at the left end; the middle where f is concave throughout."""
        low, high = torch.zeros_like(upper), upper.clamp(min=0)
        left = self._f(lower)
        for _ in range(40):
            d = (low + high) / 2
            holds = self._f(d) + self._derivative(d) * (lower - d) >= left
            low, high = torch.where(holds, low, d), torch.where(holds, d, high)
        return torch.where(lower >= 0, (lower + upper) / 2, high)
