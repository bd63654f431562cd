"""`AdvLibAttack`: wraps one attack function of adv-lib as an `Attack`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from art_flat.adapters.base import Adapter
from art_flat.attacks import Attack, AttackInfo, Problem
from art_flat.attacks.checks import CheckContext
from art_flat.attacks.view import UnitView, attack_in_view, require_one_range
from art_flat.errors import ParameterError
from art_flat.functional import project
from art_flat.typing import Norm

from ._library import library
from ._spec import ORDERS, AdvLibSpec, spelled


class AdvLibAttack(Attack):
    """An attack of adv-lib behind the contract of `art_flat.attacks.Attack`.

    Args:
        row: Specification of the attack.
        info: Its registry entry.
        params: Its parameters, with the library's names; Greek letters may be spelled out.

    Raises:
        ParameterError: If a parameter does not exist, or is set by the call.
    """

    def __init__(self, row: AdvLibSpec, info: AttackInfo, params: Mapping[str, Any]) -> None:
        params = {spelled(name): value for name, value in params.items()}
        if row.radius in params:
            raise ParameterError(
                f"{info.name}: pass `delta` to the call, in units of the classifier's clip_values"
            )
        if params.get("best_loss") and params.get("loss_function") == "ce":
            info = replace(info, maximises_loss=True)
        super().__init__(info, params)
        self.row = row

    def check(self, net: Adapter, norm: Norm) -> None:
        """Reject unsupported classifiers and parameters; see `Attack.check`.

        Raises:
            AttackNotUsableError: If the classifier cannot be attacked with it.
            InputError: If a parameter is invalid for the classifier.
        """
        require_one_range(self.info.name, "adv-lib", net)
        for key in self.row.counts:
            if self.settings[key] is not None or self.info.defaults[key] is not None:
                self.require_count(key, self.settings[key])
        for check in self.row.checks:
            check(CheckContext(self.info.name, net, norm, self.settings))

    def run(self, problem: Problem) -> torch.Tensor:
        """Return the library's points, in clip units; see `Attack.run`."""
        call = self._call(problem)

        def solve(view: UnitView, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            if problem.delta is None or not self.row.radius:
                return call(view, x.clone(), labels)
            radius = problem.delta / view.window.size
            points = call(view, x.clone(), labels, **{self.row.radius: radius})
            return project(x, points.detach(), radius, problem.norm)  # what rounding puts outside

        return attack_in_view(problem, solve, self.row.which)

    def _call(self, problem: Problem) -> Callable[..., torch.Tensor]:
        """The library's function with everything set but the classifier, the samples and the radius."""
        row, settings = self.row, self.settings
        arguments = {theirs: settings[name] for name, theirs in row.library_names.items()}
        arguments |= row.settings(problem, settings) if row.settings is not None else {}
        if row.norm_parameter == "distance":
            arguments["distance"] = problem.norm.lower()
        elif row.norm_parameter:
            arguments[row.norm_parameter] = ORDERS[problem.norm]
        function = getattr(library, row.function)
        if row.repaired is not None:
            function = row.repaired(function, settings)

        def call(view: UnitView, x: torch.Tensor, labels: torch.Tensor, **radius: float) -> torch.Tensor:
            points: torch.Tensor = function(
                view, x, labels, targeted=problem.target is not None, **arguments, **radius
            )
            return points

        return call
