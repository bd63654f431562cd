"""`FoolboxSpec`: the specification of one attack of foolbox."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import foolbox
from foolbox.attacks.base import FixedEpsilonAttack, MinimizationAttack

from art_flat.attacks.base import Access, Budget
from art_flat.typing import Norm

STEP = "abs_stepsize"
_HIDDEN = (
    "distance",
    "tensorboard",
    "init_attack",
    "update_stats_every_k",
    "channel_axis",
    "reduced_dims",
    "args",
    "kwargs",
)


@dataclass(frozen=True)
class FoolboxSpec:
    """Specification of one attack of foolbox.

    Attributes:
        name: Class in `foolbox.attacks`.
        norms: Norms of the ball or of the distance it minimises.
        access: As in `AttackInfo`; `maximises_loss`, `targeted` and `notes` likewise.
        images: Whether it needs inputs of shape (channels, height, width).
        starts: Whether it starts from an adversarial point, which it may not find.
        defaults_here: Defaults where the library has none.
        needs: A package that it requires.
        refusal: Reason why it can never be used.
    """

    name: str
    norms: tuple[Norm, ...]
    access: Access = "white-box"
    maximises_loss: bool = False
    targeted: bool = True
    images: bool = False
    starts: bool = False
    defaults_here: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""
    refusal: str = ""
    notes: tuple[str, ...] = ()

    @property
    def library_class(self) -> Any:
        """The class in foolbox."""
        return getattr(foolbox.attacks, self.name)

    @property
    def budget(self) -> Budget:
        """Whether it takes δ, minimises a distance, or neither, from its base class."""
        if not self.refusal and issubclass(self.library_class, FixedEpsilonAttack):
            return "fixed"
        return (
            "none"
            if self.refusal or not issubclass(self.library_class, MinimizationAttack)
            else "minimum-norm"
        )

    @property
    def signature(self) -> Mapping[str, inspect.Parameter]:
        """The constructor's parameters."""
        return dict(list(inspect.signature(self.library_class.__init__).parameters.items())[1:])

    @property
    def has_fixed_steps(self) -> bool:
        """Whether it takes a fixed number of steps of one size."""
        return STEP in self.signature

    def defaults(self) -> dict[str, Any]:
        """Return the parameters that a user may set; None for steps that scale with δ."""
        if self.refusal:
            return {}
        parameters = {k: p.default for k, p in self.signature.items() if k not in _HIDDEN}
        if self.has_fixed_steps:
            parameters |= {STEP: None, "rel_stepsize": None}
        return {**parameters, **self.defaults_here}

    def refused_here(self) -> str:
        """Return the reason why it cannot be used in this installation; empty if it can."""
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"needs the package {self.needs}, which is not installed"
        return self.refusal

    def all_notes(self) -> tuple[str, ...]:
        """Return the notes, including those that follow from the base class."""
        notes = list(self.notes)
        if not self.refusal and self.has_fixed_steps:
            notes += [
                "the step is 2.5 delta / steps unless rel_stepsize (in units of delta) or abs_stepsize (in units of "
                "clip_values, as delta is) is given",
                "returns its last iterate, not its best",
            ]
        if self.budget == "minimum-norm":
            notes.append("does not use delta: it runs once, and its points are read at every delta")
        if self.starts:
            notes.append(
                "starts from a wrong point on the way to noise; samples for which there is none are failed"
            )
        return tuple(notes)
