"""`TorchattacksSpec`: the specification of one attack of torchattacks, and the state of one run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torchattacks

from art_flat.attacks import Problem
from art_flat.attacks.checks import CheckContext
from art_flat.attacks.view import UnitView
from art_flat.typing import Norm

SET_BY_CALL: Mapping[str, str] = {
    "eps": "pass `delta` to the call, in units of the classifier's clip_values",
    "max_epsilon": "pass `delta` to the call, in units of the classifier's clip_values",
    "norm": "pass `norm` to the call",
    "seed": "pass `seed` to the call",
    "verbose": "output of the library is stored in the result's `warnings`",
}
"""Parameters of the library that the call or art_flat sets, with the alternative to passing them."""


@dataclass(frozen=True)
class Step:
    """A default step size that scales with δ: factor · δ / steps.

    Attributes:
        parameter: The library's name for the step size.
        steps: The library's name for the number of steps, or None for a single step.
        factor: Share of δ that all steps together cover.
    """

    parameter: str = "alpha"
    steps: str | None = "steps"
    factor: float = 2.5


@dataclass(frozen=True)
class Setup:
    """State of one run of an attack, in the library's units.

    Attributes:
        problem: The problem in clip units.
        view: The classifier as the library sees it: images in [0, 1].
        start: The clean images in [0, 1], shape (n, channels, height, width).
        span: Length of the window that is mapped to [0, 1], in clip units.
        params: The attack's parameters, including defaults.
    """

    problem: Problem
    view: UnitView
    start: torch.Tensor
    span: float
    params: Mapping[str, Any]

    @property
    def radius(self) -> float | None:
        """δ in units of [0, 1]."""
        return None if self.problem.delta is None else self.problem.delta / self.span

    def with_params(self, params: Mapping[str, Any]) -> Setup:
        """Return a copy with other parameters."""
        return replace(self, params=params)


def library_class(setup: Setup, name: str, settings: Mapping[str, Any]) -> Any:
    """Return a new attack object of the library."""
    return getattr(torchattacks, name)(setup.view, **settings)


def given_target(setup: Setup) -> torch.Tensor | None:
    """Return the target of the call, if there is one."""
    return setup.problem.target


def whole_batch(setup: Setup, attack: Any, labels: torch.Tensor) -> torch.Tensor:
    """Return the library's points for all images at once."""
    return torch.as_tensor(attack(setup.start, labels))


@dataclass(frozen=True)
class TorchattacksSpec:
    """Specification of one attack of torchattacks.

    Attributes:
        name: Name of the class in torchattacks.
        norms: See `AttackInfo`; so for `budget`, `access`, `maximises_loss`, `targeted`, `usability`,
            `reason` and `notes`.
        radius: The constructor's parameter that takes δ in [0, 1] units, or None.
        step: Its step size, if the default scales with δ.
        images: Whether it needs inputs of shape (channels, height, width).
        three_channels: Whether the library's code only supports three channels.
        positive_logits: Whether it takes a maximum over logits with the others set to 0, which is right only
            where logits are positive; the view then adds a constant per sample, which changes no probability.
        begin: The images to start from; by default the clean ones.
        settings: Further arguments of the constructor.
        construct: Creates the library's object.
        adjust: Changes the object before it runs.
        aim: The target labels, or None to attack untargeted.
        call: Runs the object on the images.
        finish: Postprocessing of its points, in [0, 1].
        checks: Functions that raise if the attack cannot run.
        extra: Parameters that the constructor does not have, with their defaults.
    """

    name: str
    norms: tuple[Norm, ...]
    budget: Literal["fixed", "minimum-norm", "none"] = "fixed"
    access: Literal["white-box", "black-box", "none"] = "white-box"
    maximises_loss: bool = False
    targeted: bool = True
    usability: Literal["usable", "degraded", "refused"] = "usable"
    reason: str = ""
    notes: tuple[str, ...] = ()
    radius: str | None = "eps"
    step: Step | None = None
    images: bool = False
    three_channels: bool = False
    positive_logits: bool = False
    begin: Callable[[torch.Tensor], torch.Tensor] | None = None
    settings: Callable[[Setup], Mapping[str, Any]] | None = None
    construct: Callable[[Setup, str, Mapping[str, Any]], Any] = library_class
    adjust: Callable[[Any, Setup], None] | None = None
    aim: Callable[[Setup], torch.Tensor | None] = given_target
    call: Callable[[Setup, Any, torch.Tensor], torch.Tensor] = whole_batch
    finish: Callable[[Setup, torch.Tensor], torch.Tensor] | None = None
    checks: tuple[Callable[[CheckContext], None], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether the library's object is run without extra steps: no custom start, target, call or finish."""
        if self.budget != "fixed" or self.usability == "refused":
            return False
        custom = (self.begin, self.finish, self.aim is not given_target, self.call is not whole_batch)
        return not (self.three_channels or self.positive_logits or any(custom))

    @property
    def signature(self) -> Mapping[str, inspect.Parameter]:
        """The constructor's parameters, without the model and without `**kwargs`."""
        parameters = inspect.signature(getattr(torchattacks, self.name)).parameters
        named = {k: p for k, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
        return {k: p for k, p in named.items() if k != "model"}

    def defaults(self) -> dict[str, Any]:
        """Return the parameters that a user may set; None for a step size that scales with δ."""
        parameters = {
            k: p.default for k, p in self.signature.items() if p.default is not inspect.Parameter.empty
        }
        parameters = {k: v for k, v in parameters.items() if k not in SET_BY_CALL}
        if self.step is not None:
            parameters[self.step.parameter] = None
        return {**parameters, **self.extra}

    def step_notes(self) -> tuple[str, ...]:
        """Return a note on the default step size."""
        if self.step is None:
            return ()
        divisor = f" / {self.step.steps}" if self.step.steps else ""
        return (
            f"{self.step.parameter} is {self.step.factor} delta{divisor} unless given; "
            "given values are in units of clip_values, as delta is",
        )
