"""`AttackInfo`: the registry entry of an attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..typing import Norm

Access = Literal["white-box", "black-box", "none"]
Budget = Literal["fixed", "minimum-norm", "none"]
Usability = Literal["usable", "degraded", "refused"]


@dataclass(frozen=True)
class AttackInfo:
    """Registry entry of an attack; `art-flat attacks` lists it.

    Attributes:
        name: `"library:Name"`, as accepted by `load_attack`.
        build: Called with the attack's parameters; returns the `Attack`.
        norms: Norms of the balls that it supports, or the norm that it minimises.
        access: Required access to the model: gradients, outputs only, or none.
        budget: `"fixed"`: it takes δ; `"minimum-norm"`: it runs once and minimises the distance;
            `"none"`: neither (its points are measured and read at every δ).
        maximises_loss: Whether it maximises the cross-entropy in the ball; if not, a loss change found
            by it underestimates (δ, ε)-robustness violations.
        targeted: Whether it takes a target class.
        takes_start: Whether it takes points from which the search begins.
        usability: `"usable"`, `"degraded"` or `"refused"`, with the `reason`.
        reason: Reason if it is not fully usable.
        notes: Facts about its behaviour that a reader of its results should know.
        version: Version of its library.
        defaults: Its parameters with their default values.
    """

    name: str
    build: Callable[..., Any]
    norms: tuple[Norm, ...]
    access: Access = "white-box"
    budget: Budget = "fixed"
    maximises_loss: bool = False
    targeted: bool = False
    takes_start: bool = False
    usability: Usability = "usable"
    reason: str = ""
    notes: tuple[str, ...] = ()
    version: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
