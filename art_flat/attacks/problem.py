"""The validated arguments of an attack, the input of its `run` (`Problem`), and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from .._utils.arrays import like, to_numpy
from .._utils.formatting import ball_text, norm_sign, percent_of
from .._utils.html import html_table
from ..adapters.base import Adapter, Outputs
from ..errors import InputError
from ..typing import Norm

if TYPE_CHECKING:
    from ..typing import Array


class Steps(NamedTuple):
    """The steps of an attack that takes a fixed number of steps of one size."""

    size: float
    """Length of a step in clip units."""
    number: int


@dataclass(frozen=True)
class CheckedArguments:
    """Validated arguments of `Attack.__call__`, for n samples.

    Attributes:
        x: Clean inputs, floating, finite, of the classifier's shape and range, shape (n, ...), on any device.
        y: True labels, int64, shape (n,), on any device.
        norm: Norm of the ball.
        delta: Radius in clip units, or None.
        target: Target labels, int64, shape (n,), or None.
        seed: Seed for all random number generators.
        clean: Logits and features at `x`, if they are already known.
        estimate_gradients: Whether to use the estimated gradients of preprocessing defences.
        radii: Norm → further radii at which the points will be read.
        levels: Number of values that an element of a point may have; None for any.
        start: Points from which the search begins, shape of `x`; None for the attack's own start.
    """

    x: torch.Tensor
    y: torch.Tensor
    norm: Norm
    delta: float | None
    target: torch.Tensor | None
    seed: int
    clean: Outputs | None
    estimate_gradients: bool
    radii: Mapping[Norm, Sequence[float]]
    levels: int | None = None
    start: torch.Tensor | None = None


@dataclass(frozen=True)
class Problem:
    """The input of an attack's `run`; tensors are on the model's device and must not be changed.

    Attributes:
        net: The adapted classifier.
        module: `x` (n, ...) in clip units → logits (n, k), differentiable; every pass through it is counted.
        x: Clean inputs, shape (n, ...).
        y: True labels, int64, shape (n,).
        target: Target labels, int64, shape (n,), or None.
        delta: Radius in clip units; None only for attacks without a fixed budget.
        norm: Norm of the ball.
        low: Smallest admissible input value, broadcastable to `x`.
        high: Largest admissible input value, broadcastable to `x`.
        seed: Seed of this run; the global generators are already seeded with it and are restored afterwards.
        start: Points from which the search begins, shape of `x`; None for the attack's own start.
    """

    net: Adapter
    module: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    target: torch.Tensor | None
    delta: float | None
    norm: Norm
    low: torch.Tensor
    high: torch.Tensor
    seed: int
    start: torch.Tensor | None = None

    def part(self, mask: torch.Tensor) -> Problem:
        """The same for some of the samples.

        Args:
            mask: Which of them, bool (n,).

        Returns:
            Their problem.
        """
        target, start = (None if t is None else t[mask] for t in (self.target, self.start))
        return replace(self, x=self.x[mask], y=self.y[mask], target=target, start=start)

    @classmethod
    def from_checked(cls, net: Adapter, checked: CheckedArguments, module: nn.Module) -> Problem:
        """The problem on the classifier's device.

        Args:
            net: The adapted classifier.
            checked: The arguments.
            module: The classifier as a module.

        Returns:
            The problem; x in the classifier's dtype, except for half precision, in which points would round out of
            the ball.

        Raises:
            InputError: If the classifier has no clip range.
        """
        if net.clip_values is None:
            raise InputError(
                "the classifier has no clip_values, so the admissible range is unknown; "
                "build it with clip_values=(low, high)"
            )
        device, dtype = net.device, torch.promote_types(net.dtype, torch.float32)
        low, high = (torch.as_tensor(np.asarray(v), dtype=dtype, device=device) for v in net.clip_values)
        x = torch.minimum(torch.maximum(checked.x.detach().to(device, dtype), low), high)
        target = None if checked.target is None else checked.target.to(device)
        y = checked.y.to(device)
        start = None if checked.start is None else checked.start.detach().to(device, dtype)
        return cls(net, module, x, y, target, checked.delta, checked.norm, low, high, checked.seed, start)


@dataclass(frozen=True, repr=False)
class AttackResult:
    """The result of an attack, measured by art_flat and not by the library; n samples.

    Attributes:
        x: Adversarial points, inside the clip range, shape of the clean inputs.
        success: Mask of the points that are misclassified (or hit the target) and inside the ball, bool (n,).
        distance: ‖x′ − x‖ in `norm`, float64 (n,).
        within_budget: Mask of the points with distance ≤ δ, bool (n,); all True if δ is None.
        status: `"ok"`, `"fallback"` (the attack returned the clean point or worse) or `"failed"`
            (not finite; the clean point is kept in `x`), text (n,).
        distances: The same distances in every norm.
        outputs: Logits and features at `x`, tensors on the model's device.
        forwards: Forward passes per sample inside the attack; NaN where they cannot be counted.
        backwards: Backward passes per sample inside the attack; NaN where they cannot be counted.
        seconds: Wall-clock time of the attack alone, for the whole batch.
        warnings: Warnings and output of the library during the run.
        attack: The attack with its parameters, as accepted by `load_attack`.
        norm: Norm of the ball.
        delta: Radius of the ball in clip units, or None.
        seed: The seed used.
    """

    x: Array
    success: Array
    distance: Array
    within_budget: Array
    status: np.ndarray
    distances: Mapping[Norm, np.ndarray]
    outputs: Outputs
    forwards: float
    backwards: float
    seconds: float
    warnings: tuple[str, ...]
    attack: str
    norm: Norm
    delta: float | None
    seed: int

    def __repr__(self) -> str:
        return f"<AttackResult of {self.attack}, {self._ball}: {self._found}>"

    def _repr_html_(self) -> str:
        counts = ", ".join(
            f"{n} {s}" for s, n in zip(*np.unique(self.status, return_counts=True), strict=True)
        )
        length = np.asarray(to_numpy(self.distance), np.float64)
        middle = (
            f"median distance {np.median(length):.4g}, largest {length.max():.4g}"
            if length.size
            else "no samples"
        )
        cost = f"{self.forwards:.4g} forward and {self.backwards:.4g} backward passes per sample, {self.seconds:.3g} s"
        rows = [("found", self._found), ("distance", middle), ("status", counts), ("cost", cost)]
        return html_table([f"{self.attack}, {self._ball}", "seed " + str(self.seed)], rows)

    @property
    def _ball(self) -> str:
        return norm_sign(self.norm) if self.delta is None else ball_text(self.norm, self.delta)

    @property
    def _found(self) -> str:
        success = to_numpy(self.success)
        return f"{percent_of(success.mean() if success.size else None, success.size, 'sample')} successful"

    def in_kind_of(self, source: Array) -> AttackResult:
        """The same result with arrays of the kind of `source`: NumPy, or tensors on its device.

        Args:
            source: An array of any shape.

        Returns:
            The result.
        """
        return replace(
            self,
            x=like(self.x, source),
            success=like(self.success, source),
            distance=like(self.distance, source),
            within_budget=like(self.within_budget, source),
        )
