"""Measures the points of an attack: clipped, moved back where rounding put them outside the ball, and scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._utils.arrays import to_numpy, to_tensor
from .._utils.formatting import counted
from ..adapters.base import Outputs
from ..errors import BudgetError, InputError
from ..functional import cross_entropy, round_to_levels, snap_into_balls
from ..typing import Norm
from ._guarded_run import GuardedRun
from .problem import AttackResult, Problem


def measured_result(
    name: str,
    run: GuardedRun,
    problem: Problem,
    clean: Outputs,
    balls: Iterable[tuple[Norm, float]],
    levels: int | None = None,
) -> AttackResult:
    """Clip and measure the points that an attack returned.

    Args:
        name: The attack with its parameters.
        run: Its result and side effects.
        problem: Its input.
        clean: Logits and features at the clean points.
        balls: Norms and radii of the balls for which rounding errors are corrected.
        levels: Number of values to which the points are rounded; None for no rounding.

    Returns:
        The points and their measurements, tensors on the model's device.

    Raises:
        BudgetError: If the points are not real numbers of the shape of the clean ones.
    """
    points, finite = _repair(run.points, problem)
    if levels is not None:
        points = round_to_levels(
            problem.x, points, levels=levels, low=problem.low, high=problem.high, delta=problem.delta, norm=problem.norm
        )  # fmt: skip
    points, distances = snap_into_balls(problem.x, points, balls)
    distance, n = distances[problem.norm], len(points)
    inside = torch.ones_like(finite) if problem.delta is None else distance <= problem.delta
    outputs = problem.net.outputs_unchecked(points)
    success = _fooled(outputs.logits, problem) & inside & finite
    return AttackResult(
        x=points,
        success=success,
        distance=distance,
        within_budget=inside,
        status=_status(points, success, finite, outputs, clean, problem),
        distances={norm: to_numpy(d) for norm, d in distances.items()},
        outputs=outputs,
        forwards=run.forwards / n,
        backwards=run.backwards / n,
        seconds=run.seconds,
        warnings=(*run.messages, *_side_effects(run, int((~inside & finite).sum()))),
        attack=name,
        norm=problem.norm,
        delta=problem.delta,
        seed=problem.seed,
    )


def _side_effects(run: GuardedRun, outside: int) -> Iterator[str]:
    """Descriptions of the side effects of an attack."""
    if run.changed:
        yield f"changed the model's {', '.join(run.changed)} (restored)"
    if run.changed_settings:
        yield f"changed global settings: {', '.join(run.changed_settings)} (restored)"
    if run.used_global_rng:
        yield "drew from the global random generators (seeded, restored)"
    if outside:
        yield f"left the ball at {counted(outside, 'point')}"


def _repair(points: Any, problem: Problem) -> tuple[Tensor, Tensor]:
    """Points clipped to the range, and which of them were finite."""
    x = problem.x
    points = _as_tensor(points, tuple(x.shape)).detach().to(x.device, x.dtype)
    finite = torch.isfinite(points).flatten(1).all(dim=1)
    points = torch.where(finite.view(-1, *[1] * (x.ndim - 1)), points, x)
    return torch.minimum(torch.maximum(points, problem.low), problem.high), finite


def _as_tensor(points: Any, shape: tuple[int, ...]) -> Tensor:
    """What an attack returned as a dense tensor of real numbers."""
    expected = f"where points of shape {shape} were expected"
    if isinstance(points, (list, tuple)) and any(isinstance(p, Tensor) for p in points):
        points = [to_numpy(p) for p in points]
    if isinstance(points, Tensor) and points.device.type == "meta":
        raise BudgetError(f"the attack returned a tensor on the meta device, without values, {expected}")
    try:
        tensor = to_tensor(points)
    except InputError as error:
        raise BudgetError(f"the attack returned {type(points).__name__} {expected}: {error}") from None
    if tensor.shape != shape:
        raise BudgetError(f"the attack returned {tuple(tensor.shape)} {expected}")
    return tensor


def _fooled(logits: Tensor, problem: Problem) -> Tensor:
    label = logits.argmax(dim=1)
    defined = ~torch.isnan(logits).any(dim=1)
    return defined & ((label == problem.target) if problem.target is not None else (label != problem.y))


def _status(
    points: Tensor,
    success: Tensor,
    finite: Tensor,
    outputs: Outputs,
    clean: Outputs,
    problem: Problem,
) -> np.ndarray:
    fallback = (points == problem.x).flatten(1).all(dim=1)
    if problem.target is None:
        worse = cross_entropy(outputs.logits, problem.y) < cross_entropy(clean.logits, problem.y)
        fallback |= worse & ~success
    status = np.where(to_numpy(fallback), "fallback", "ok")
    return np.where(to_numpy(finite), status, "failed")
