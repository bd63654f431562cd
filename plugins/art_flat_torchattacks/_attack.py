"""`TorchattacksAttack`: wraps one attack of torchattacks as an `Attack`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from art_flat.adapters.base import Adapter
from art_flat.attacks import Attack, AttackInfo, Problem
from art_flat.attacks.base import Steps
from art_flat.attacks.checks import CheckContext
from art_flat.attacks.view import UnitView, require_one_range
from art_flat.errors import ParameterError
from art_flat.typing import Norm

from ._spec import SET_BY_CALL, Setup, TorchattacksSpec


class TorchattacksAttack(Attack):
    """An attack of torchattacks behind the contract of `art_flat.attacks.Attack`.

    Args:
        row: Specification of the attack.
        info: Its registry entry.
        params: Its parameters, with the library's names.

    Raises:
        ParameterError: If a parameter does not exist, or is set by the call.
    """

    def __init__(self, row: TorchattacksSpec, info: AttackInfo, params: Mapping[str, Any]) -> None:
        for key in params.keys() - info.defaults.keys() & SET_BY_CALL.keys():
            raise ParameterError(f"{info.name}: {key!r} is not set here; {SET_BY_CALL[key]}")
        super().__init__(info, params)
        self.row = row

    def check(self, net: Adapter, norm: Norm) -> None:
        """Reject unsupported classifiers and parameters; see `Attack.check`.

        Raises:
            AttackNotUsableError: If the attack does not support the classifier or the norm.
            InputError: If a parameter is invalid for the classifier.
        """
        case = CheckContext(self.info.name, net, norm, self.settings)
        require_one_range(case.name, "torchattacks", net)
        if self.row.images:
            case.require_images()
        steps = self.row.step.steps if self.row.step is not None else None
        if steps is not None:
            self.require_count(steps, case.params[steps])
        if self.row.step is not None:
            self.require_step(self.row.step.parameter, case.params[self.row.step.parameter])
        for check in self.row.checks:
            check(case)

    def fixed_steps(self, delta: float) -> Steps | None:
        """See `Attack.fixed_steps`."""
        step = self.row.step
        if step is None:
            return None
        count = self.settings[step.steps] if step.steps else 1
        size = self.settings[step.parameter]
        return Steps(step.factor * delta / count if size is None else size, count)

    def run(self, problem: Problem) -> torch.Tensor:
        """Return the library's points, in clip units; see `Attack.run`."""
        view = UnitView(problem, widen=self.row.three_channels, positive=self.row.positive_logits)
        window = view.window
        clean = view.show(window.to_unit(problem.x))
        start = clean if self.row.begin is None else self.row.begin(clean)
        setup = Setup(problem, view, start, window.size, self.settings)
        attack = self.library_attack(setup)
        target = self.row.aim(setup)
        if target is not None:
            attack.set_mode_targeted_by_label(quiet=True)
        points = self.row.call(setup, attack, problem.y if target is None else target).detach()
        if self.row.finish is not None:
            points = self.row.finish(setup, points)
        is_changed = (view.narrow(points) != view.narrow(start)).reshape(problem.x.shape)
        back = window.from_unit(view.narrow(points).reshape(problem.x.shape).to(problem.x.dtype))
        return torch.where(is_changed, back, problem.x)

    def library_attack(self, setup: Setup) -> Any:
        """Return the library's object with δ, norm, seed, step size and parameters set."""
        row, settings = self.row, {k: v for k, v in setup.params.items() if k in self.row.signature}
        steps = self.fixed_steps(setup.problem.delta or 0.0)
        if row.step is not None and steps is not None:
            settings[row.step.parameter] = steps.size / setup.span
        if row.radius is not None and setup.radius is not None:
            settings[row.radius] = setup.radius
        set_by_call = {"norm": setup.problem.norm, "seed": setup.problem.seed}
        settings |= {k: v for k, v in set_by_call.items() if k in row.signature}
        if row.settings is not None:
            settings |= row.settings(setup)
        attack = row.construct(setup, row.name, settings)
        attack.set_device(setup.start.device)
        if row.adjust is not None:
            row.adjust(attack, setup)
        return attack
