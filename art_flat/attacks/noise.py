"""Random noise as a control, `art_flat:GaussianNoise` and `art_flat:UniformNoise`: a lower limit for attacks.

Both draw one point per sample and move there in `steps` equal steps along a straight line. With one step the model
is not evaluated; with more, the point with the largest loss on the path is kept, including the clean one.
"""

from __future__ import annotations

from abc import abstractmethod

import torch

from ..adapters.base import Adapter
from ..functional.ascent import expand, unit_step
from ..typing import Norm
from .base import Attack, Problem
from .lossmax import ascent_value, to_ball
from .objectives import loss_objective


class _Noise(Attack):
    """Base class: a random point per sample, and the path to it."""

    def check(self, net: Adapter, norm: Norm) -> None:
        """Reject invalid parameters; see `Attack.check`."""
        self.require_count("steps", self.steps)

    @property
    def steps(self) -> int:
        """Number of steps to the point."""
        value: int = self.params.get("steps", self.info.defaults["steps"])
        return value

    def run(self, problem: Problem) -> torch.Tensor:
        """The random point of each sample, or the point on the path to it with the largest loss."""
        generator = torch.Generator(device=problem.x.device).manual_seed(problem.seed)
        shift = float(problem.delta or 0) * self.draw(problem, generator)
        if self.steps == 1:
            return to_ball(problem, problem.x + shift)
        best, highest = problem.x, ascent_value(loss_objective(problem), problem.x)
        for step in range(1, self.steps + 1):
            x = to_ball(problem, problem.x + step / self.steps * shift)
            value = ascent_value(loss_objective(problem), x)
            best = torch.where(expand(value > highest, x), x, best)
            highest = torch.fmax(highest, value)
        return best

    @abstractmethod
    def draw(self, problem: Problem, generator: torch.Generator) -> torch.Tensor:
        """Random shifts of length at most 1 in the problem's norm, shape of `problem.x`."""


class GaussianNoise(_Noise):
    """x + δ g/‖g‖ with g standard normal: a point on the sphere, in L2 uniform on it; clipped to the range.

    Parameters: `steps`.
    """

    def draw(self, problem: Problem, generator: torch.Generator) -> torch.Tensor:
        """See `_Noise.draw`."""
        return _unit(_normal(problem.x, generator), problem.norm)


class UniformNoise(_Noise):
    """A point uniform in the ball, in L∞ independently for each element; clipped to the range.

    In L2 a direction uniform on the sphere at length δ u^(1/d), with u uniform in [0, 1] and d elements.

    Parameters: `steps`.
    """

    def draw(self, problem: Problem, generator: torch.Generator) -> torch.Tensor:
        """See `_Noise.draw`."""
        x = problem.x
        if problem.norm == "Linf":
            return 2 * torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) - 1
        length = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)
        direction = _unit(_normal(x, generator), problem.norm)
        return direction * expand(length ** (1 / x[0].numel()), x)


def _normal(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _unit(noise: torch.Tensor, norm: Norm) -> torch.Tensor:
    if norm == "L2":
        return unit_step(noise, norm)
    return noise / expand(noise.flatten(1).abs().amax(dim=1).clamp_min(torch.finfo(noise.dtype).tiny), noise)
