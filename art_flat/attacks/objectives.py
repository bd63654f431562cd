"""What `art_flat:APGD` ascends: the loss, or goals in order for an attacker who knows that flatness is watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import torch

from .._utils.numbers import check_number
from .._utils.validation import check_definition
from ..adapters._graph_outputs import outputs_with_graph
from ..errors import InputError, UnknownNameError
from ..functional.ascent import log_odds_against
from ..functional.factors import COLUMNS, sharpness_factors
from ..typing import Definition
from .problem import Problem

Objective = Literal["loss", "sharp", "flat", "detector"]
_STAGE = 2000.0
"""Above twice the inverse hyperbolic sine of the largest float64."""


class Ascent(NamedTuple):
    """An objective at n points."""

    rank: torch.Tensor
    """Which of two points of a sample is better: larger, without a graph, float64 (n,)."""
    value: torch.Tensor
    """What is ascended there, with a graph if gradients are enabled, float64 (n,)."""


Evaluate = Callable[[torch.Tensor], Ascent]


def loss_objective(problem: Problem) -> Evaluate:
    """The loss, as log Σ_{j≠y} exp(z_j) − z_y, or its counterpart for a target class.

    Args:
        problem: The input of the attack.

    Returns:
        Maps points (n, ...) to the objective.
    """

    def evaluate(x: torch.Tensor) -> Ascent:
        value = log_odds(problem, problem.module(x))
        return Ascent(value.detach(), value)

    return evaluate


def log_odds(problem: Problem, logits: torch.Tensor) -> torch.Tensor:
    """The objective of a loss maximiser, larger for more adversarial points, float64 (n,)."""
    if problem.target is not None:
        return -log_odds_against(logits, problem.target)
    return log_odds_against(logits, problem.y)


@dataclass(frozen=True)
class StagedObjective:
    """Goals in order; every sample pursues the first that its current point does not meet.

    1. The prediction is wrong (or the target class).
    2. The factors of κ are within the ranges of clean points.
    3. The loss, log κ, −log κ or minus the detector's score is as large as possible.

    A point of a later stage is better than any of an earlier one, so the path can cross the ridge of κ at the decision
    boundary, and of all iterates the best one that meets the most goals is kept.

    Attributes:
        objective: `"loss"`, `"sharp"` (log κ), `"flat"` (−log κ) or `"detector"` (minus the score).
        within: Column of `sharpness_factors` → its smallest and largest value; the second stage.
        score: Column → weight: the detector's score, larger for points that it flags.
        definition: Definition of κ.
    """

    objective: Objective = "loss"
    within: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    score: Mapping[str, float] = field(default_factory=dict)
    definition: Definition = "paper"

    @property
    def is_loss(self) -> bool:
        """Whether it is the loss alone."""
        return self.objective == "loss" and not self.within

    def on(self, problem: Problem) -> Evaluate:
        """The objective of a problem.

        Args:
            problem: The input of the attack.

        Returns:
            Maps points (n, ...) to the objective.
        """
        if self.is_loss:
            return loss_objective(problem)
        weight = problem.net.head.weight

        def evaluate(x: torch.Tensor) -> Ascent:
            logits, features = outputs_with_graph(problem.module, x)
            columns = sharpness_factors(logits, features, weight, definition=self.definition)
            table = dict(zip(COLUMNS, columns.unbind(dim=1), strict=True))
            odds = log_odds(problem, logits)
            outside = self._outside(table, odds)
            stage = torch.where(_is_wrong(problem, logits), 1 + (outside == 0).long(), 0)
            value = torch.where(stage == 0, odds, torch.where(stage == 1, -outside, self._last(table, odds)))
            return Ascent((_STAGE * stage + value.asinh()).detach(), value)

        return evaluate

    def _outside(self, table: Mapping[str, torch.Tensor], odds: torch.Tensor) -> torch.Tensor:
        """The distance to the ranges, summed over the columns, nats; 0 inside."""
        total = torch.zeros_like(odds)
        for column, (low, high) in self.within.items():
            total = total + (low - table[column]).clamp_min(0) + (table[column] - high).clamp_min(0)
        return total

    def _last(self, table: Mapping[str, torch.Tensor], odds: torch.Tensor) -> torch.Tensor:
        if self.objective == "loss":
            return odds
        weights = {"sharp": {"log_kappa": -1.0}, "flat": {"log_kappa": 1.0}}.get(self.objective, self.score)
        return -sum((w * table[column] for column, w in weights.items()), torch.zeros_like(odds))


def _is_wrong(problem: Problem, logits: torch.Tensor) -> torch.Tensor:
    label = logits.detach().argmax(dim=1)
    return label != problem.y if problem.target is None else label == problem.target


def staged_objective(params: Mapping[str, Any]) -> StagedObjective:
    """The objective of an attack's parameters.

    Args:
        params: `objective, within, score, definition`; see `StagedObjective`. None stands for no entries.

    Returns:
        The objective.

    Raises:
        UnknownNameError: If the objective, a column or the definition is unknown.
        InputError: If a range or a weight is invalid, or the score is missing or not used.
    """
    objective = params["objective"]
    if objective not in get_args(Objective):
        raise UnknownNameError("objective", str(objective), get_args(Objective))
    within = {_column(c): _range(c, limits) for c, limits in (params["within"] or {}).items()}
    score = {
        _column(c): check_number(w, f"score[{c!r}]", "score per nat")
        for c, w in (params["score"] or {}).items()
    }
    if bool(score) != (objective == "detector"):
        raise InputError(
            "`score` maps columns to the weights of the detector's score, such as {'log_kappa': 1.0}; it belongs to "
            "objective='detector'"
        )
    return StagedObjective(objective, within, score, check_definition(params["definition"]))


def _column(name: str) -> str:
    if name not in COLUMNS:
        raise UnknownNameError("column", name, COLUMNS)
    return name


def _range(column: str, limits: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        raise InputError(
            f"within[{column!r}] must be a pair (low, high) of numbers, got {limits!r}"
        ) from None
    if not low < high:
        raise InputError(f"within[{column!r}] must be a pair (low, high) with low < high, got {limits!r}")
    return low, high
