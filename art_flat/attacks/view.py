"""The classifier as attack libraries expect it: float32 inputs in [0, 1], and a parameter on its device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from ..adapters.base import Adapter
from ..errors import AttackNotUsableError
from .problem import Problem

_WIDE = 8
"""A clip range this many times wider than the points an attack can reach is not the scale of the data."""

_SMALLEST_RADIUS = 2.0**-17
"""Share of a window below which δ is too coarse in float32, whose spacing below 1 is up to 2**-24."""


@dataclass(frozen=True)
class Window:
    """The interval of inputs that an attack works in, mapped to [0, 1]; lengths are divided by `size`.

    It is the clip range, unless that is infinite or much wider than the data, where float32 could not resolve δ.
    Then it is the smallest interval that holds every point of every ball. Attacks without a radius get the range
    of the data and as much again on both sides.

    Attributes:
        low: The value mapped to 0, float64: one value, or one per feature if inputs are vectors whose features
            may have different ranges.
        size: Length of the interval in clip units, the same for all features.
        clip: Smallest and largest admissible values, if part of the window is not admissible; else None.
    """

    low: torch.Tensor
    size: float
    clip: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def from_problem(cls, problem: Problem) -> Window:
        """Return the window of a problem.

        Raises:
            AttackNotUsableError: If δ is too small relative to the range of the data for float32.
        """
        low, high = problem.low.double(), problem.high.double()
        clip = (problem.low, problem.high)
        lowest, highest = _reach(problem)
        lowest, highest = torch.maximum(lowest, low), torch.minimum(highest, high)
        size, range_ = float((highest - lowest).max()), float(high.max() - low.min())
        if range_ <= _WIDE * size:
            window = cls(low.min(), range_, clip if low.numel() > 1 or high.numel() > 1 else None)
        elif problem.x.ndim == 2:
            window = cls(lowest, size, clip)
        else:
            window = cls(lowest.min(), float(highest.max() - lowest.min()), clip)
        window.require_resolution(problem)
        return window

    def require_resolution(self, problem: Problem) -> None:
        """Require a radius that float32 can resolve.

        Raises:
            AttackNotUsableError: With the radius and the range.
        """
        if (
            problem.delta is not None
            and problem.norm != "L0"
            and problem.delta < _SMALLEST_RADIUS * self.size
        ):
            raise AttackNotUsableError(
                f"delta = {problem.delta:g} is too small for float32, in which this library computes: the data have "
                f"a range of {self.size:g}; standardise the features, or use art_flat:PGD, which does not rescale"
            )

    def to_unit(self, x: torch.Tensor) -> torch.Tensor:
        """Return inputs in clip units, rescaled to [0, 1]."""
        return ((x - self.low.to(x)) / self.size).clamp(0, 1)

    def from_unit(self, u: torch.Tensor) -> torch.Tensor:
        """Return inputs in [0, 1] in clip units, inside the clip range."""
        x = u * self.size + self.low.to(u)
        if self.clip is None:
            return x
        low, high = (limit.to(x) for limit in self.clip)
        return torch.where(
            x < low, low, torch.where(x > high, high, x)
        )  # clamp halves the gradient at its ends


def _reach(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest and largest values that an attack may reach, float64: one per feature of vectors, else one."""
    x = problem.x.double()
    low, high = (x.amin(dim=0), x.amax(dim=0)) if x.ndim == 2 else (x.amin(), x.amax())
    margin = problem.delta
    if margin is None or problem.norm == "L0":
        spread = float((high - low).max())
        margin = spread if spread > 0 else max(1.0, float(x.abs().max()))
    return low - margin, high + margin


class UnitView(nn.Module):
    """Images in [0, 1] of the library's shape ↦ logits of the adapted classifier, differentiable.

    Inputs that are not images become images of one channel and one row.

    Args:
        problem: The problem.
        widen: Present a one-channel classifier as one of three channels that uses their mean.
        positive: Add a constant per sample so that all logits are at least 1; probabilities do not change.
    """

    def __init__(self, problem: Problem, *, widen: bool = False, positive: bool = False) -> None:
        super().__init__()
        net, shape = problem.net, problem.net.input_shape
        self.module = problem.module
        self.window = Window.from_problem(problem)
        self.shape = shape
        self.dtype = net.dtype
        self.image = shape if len(shape) == 3 else (1, 1, int(torch.Size(shape).numel()))
        self.widen = widen and self.image[0] == 1
        self.positive = positive
        # libraries take the device of the first parameter
        self.anchor = nn.Parameter(torch.empty(0, device=net.device), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, k), float32, of images (n, channels, height, width)."""
        inputs = self.window.from_unit(self.narrow(x).reshape(-1, *self.shape).to(self.dtype))
        logits: torch.Tensor = self.module(inputs).float()
        if self.positive:
            return logits - logits.detach().amin(dim=1, keepdim=True) + 1
        return logits

    def show(self, x: torch.Tensor) -> torch.Tensor:
        """Return inputs in [0, 1] as images for the library."""
        images = x.float().reshape(-1, *self.image)
        return images.expand(-1, 3, -1, -1).contiguous() if self.widen else images

    def narrow(self, images: torch.Tensor) -> torch.Tensor:
        """Return one channel as the mean of three: any ball that contains all three contains it."""
        return images.mean(dim=1, keepdim=True) if self.widen else images


def require_one_range(name: str, library: str, net: Adapter) -> None:
    """Require clip values that are one pair of numbers, not one pair per feature.

    Args:
        name: The attack, for the error.
        library: Its library, for the error.
        net: The classifier.

    Raises:
        AttackNotUsableError: If the ranges differ between features.
    """
    if net.clip_values is not None and any(np.ndim(value) for value in net.clip_values):
        raise AttackNotUsableError(
            f"{name} cannot be used: {library} works in one range, but the classifier's clip_values differ between "
            "features; give it one pair of numbers"
        )


def attack_in_view(
    problem: Problem,
    solve: Callable[[UnitView, torch.Tensor, torch.Tensor], torch.Tensor],
    which: Literal["all", "open"] = "all",
) -> torch.Tensor:
    """Run a library's attack on the classifier as it expects it, and return its points in clip units.

    Args:
        problem: The problem.
        solve: Maps the view, images in [0, 1] of shape (m, channels, height, width) and int64 labels (m,), which are
            the targets if there are any, to points of the shape of the images. All tensors are its own.
        which: Samples to attack: `"all"`, or `"open"` for those that are correctly classified, or not yet in
            their target class.

    Returns:
        Points of the shape of `problem.x`; values that the attack did not change are the clean ones to the bit.
    """
    view = UnitView(problem).eval()
    window = view.window
    start = view.show(window.to_unit(problem.x))
    labels = problem.y if problem.target is None else problem.target
    todo = torch.ones_like(labels, dtype=torch.bool) if which == "all" else _open(view, start, problem)
    if not bool(todo.any()):
        return problem.x
    points = start.clone()
    points[todo] = solve(view, start[todo], labels[todo]).detach().to(points)
    is_changed = (points != start).reshape(problem.x.shape)
    back = window.from_unit(points.reshape(problem.x.shape).to(problem.x.dtype))
    return torch.where(is_changed, back, problem.x)


@torch.no_grad()
def _open(view: UnitView, start: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Mask of the samples that are correctly classified, or not yet in their target class."""
    label = view(start).argmax(dim=1)
    is_open: torch.Tensor = label == problem.y if problem.target is None else label != problem.target
    return is_open
