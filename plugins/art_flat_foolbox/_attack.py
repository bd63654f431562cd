"""`WrappedFoolboxAttack`: wraps one attack of foolbox as an `Attack`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import foolbox
import torch

from art_flat.adapters.base import Adapter
from art_flat.attacks import Attack, AttackInfo, Problem
from art_flat.attacks.base import Steps
from art_flat.attacks.checks import CheckContext
from art_flat.attacks.view import UnitView, attack_in_view, require_one_range
from art_flat.errors import ParameterError
from art_flat.typing import Norm

from ._spec import STEP, FoolboxSpec

_DISTANCE: Mapping[Norm, Any] = {
    "Linf": foolbox.distances.linf,
    "L2": foolbox.distances.l2,
    "L1": foolbox.distances.l1,
    "L0": foolbox.distances.l0,
}


class WrappedFoolboxAttack(Attack):
    """An attack of foolbox behind the contract of `art_flat.attacks.Attack`.

    Args:
        row: Specification of the attack.
        info: Its registry entry.
        params: Its parameters, with the library's names.

    Raises:
        ParameterError: If a parameter does not exist, or both step sizes are given.
    """

    def __init__(self, row: FoolboxSpec, info: AttackInfo, params: Mapping[str, Any]) -> None:
        if {"epsilon", "epsilons"} & params.keys():
            raise ParameterError(
                f"{info.name}: pass `delta` to the call, in units of the classifier's clip_values"
            )
        super().__init__(info, params)
        if {STEP, "rel_stepsize"} <= params.keys():
            raise ParameterError(f"{info.name}: give `rel_stepsize` or `abs_stepsize`, not both")
        self.row = row

    def fixed_steps(self, delta: float) -> Steps | None:
        """See `Attack.fixed_steps`."""
        if not self.row.has_fixed_steps:
            return None
        count, size, share = (self.settings[k] for k in ("steps", STEP, "rel_stepsize"))
        return Steps(delta * (2.5 / count if share is None else share) if size is None else size, count)

    def check(self, net: Adapter, norm: Norm) -> None:
        """Reject unsupported classifiers and parameters; see `Attack.check`.

        Raises:
            AttackNotUsableError: If the classifier cannot be attacked with it.
            InputError: If a parameter is invalid for the classifier.
        """
        require_one_range(self.info.name, "foolbox", net)
        if self.row.images:
            CheckContext(self.info.name, net, norm, self.settings).require_images()
        self.require_count("steps", self.settings.get("steps", 1))
        self.require_step(STEP, self.settings.get(STEP))

    def run(self, problem: Problem) -> torch.Tensor:
        """Return the library's points, in clip units; see `Attack.run`."""

        def solve(view: UnitView, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            model = foolbox.PyTorchModel(view, bounds=(0, 1), device=x.device)
            return self._points(model, x, labels, problem, view.window.size)

        return attack_in_view(problem, solve, "all" if self.info.budget == "fixed" else "open")

    def _points(
        self, model: Any, x: torch.Tensor, labels: torch.Tensor, problem: Problem, span: float
    ) -> torch.Tensor:
        """The library's points; NaN where it finds no starting point."""
        try:
            return self._call(model, x, labels, problem, span)
        except ValueError as error:
            if not self.row.starts or "failed for" not in str(error):
                raise
            if len(x) == 1:
                return torch.full_like(x, torch.nan)
        pairs = ((x[i : i + 1], labels[i : i + 1]) for i in range(len(x)))
        return torch.cat([self._points(model, image, label, problem, span) for image, label in pairs])

    def _call(
        self, model: Any, x: torch.Tensor, labels: torch.Tensor, problem: Problem, span: float
    ) -> torch.Tensor:
        row, settings = self.row, {k: v for k, v in self.settings.items() if k in self.row.signature}
        steps = self.fixed_steps(problem.delta or 0.0)
        if steps is not None:
            settings |= {STEP: steps.size / span, "rel_stepsize": 0.0}
        if "distance" in row.signature:
            settings["distance"] = _DISTANCE[problem.norm]
        if "constraint" in settings:
            settings["constraint"] = problem.norm.lower()
        if "channel_axis" in row.signature:
            settings["channel_axis"] = 1
        attack = row.library_class(**settings)
        made = (
            foolbox.criteria.Misclassification
            if problem.target is None
            else (foolbox.criteria.TargetedMisclassification)
        )
        criterion = made(labels)
        if self.info.budget == "fixed":
            assert problem.delta is not None
            epsilon = problem.delta / span
            points = attack.run(model, x, criterion, epsilon=epsilon)
            return attack.distance.clip_perturbation(x, points, epsilon)  # type: ignore[no-any-return]
        if self.info.budget == "none":
            return attack(model, x, criterion)[0]  # type: ignore[no-any-return]
        return attack.run(model, x, criterion)  # type: ignore[no-any-return]
