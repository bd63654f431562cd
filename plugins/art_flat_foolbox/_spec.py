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
    """All that is peculiar to one attack of foolbox.

    Attributes:
        name: Class in `foolbox.attacks`.
        norms: Norms of the ball or of the distance it minimises.
        access: As in `AttackInfo`; `maximises_loss`, `targeted` and `notes` likewise.
        images: It needs inputs of shape (channels, height, width).
        starts: It starts from a point that is adversarial already, which it may not find.
        defaults_here: Defaults where the library has none.
        needs: A package without which it is refused.
        refusal: Why it is refused everywhere.
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
        """Whether it takes δ, minimises a distance, or neither: what its class derives from."""
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
    def walks(self) -> bool:
        """Whether it takes a fixed number of steps of one size."""
        return STEP in self.signature

    def defaults(self) -> dict[str, Any]:
        """Return the parameters a user may give; None for steps that grow with δ."""
        if self.refusal:
            return {}
        known = {k: p.default for k, p in self.signature.items() if k not in _HIDDEN}
        if self.walks:
            known |= {STEP: None, "rel_stepsize": None}
        return {**known, **self.defaults_here}

    def refused_here(self) -> str:
        """Return why it cannot be used in this installation; nothing if it can."""
        if self.needs and importlib.util.find_spec(self.needs) is None:
            return f"needs the package {self.needs}, which is not installed"
        return self.refusal

    def all_notes(self) -> tuple[str, ...]:
        """Return the notes, with what follows from the class."""
        notes = list(self.notes)
        if not self.refusal and self.walks:
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
