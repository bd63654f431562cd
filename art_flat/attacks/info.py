"""`AttackInfo`: what is known of an attack before it is built."""

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
    """What is known of an attack before it is built; `art-flat attacks` lists it.

    Attributes:
        name: `"library:Name"`, as `load_attack` takes it.
        build: Called with the attack's parameters, gives the `Attack`.
        norms: Norms of the ball it can be confined to, or the norm it minimises.
        access: What it needs of the model: gradients, outputs only, or nothing.
        budget: `"fixed"`: it takes δ; `"minimum-norm"`: it runs once and seeks the nearest point;
            `"none"`: neither (its points are measured and read at every δ).
        maximises_loss: Whether it maximises the cross-entropy in the ball; if not, a loss change found
            by it says little about (δ, ε)-robustness.
        targeted: Whether it takes a target class.
        usability: `"usable"`, `"degraded"` or `"refused"`, with the `reason`.
        reason: Why it is not simply usable.
        notes: Facts about its behaviour that a reader of its results should know.
        version: Version of the library it comes from.
        defaults: Its parameters with their default values.
    """

    name: str
    build: Callable[..., Any]
    norms: tuple[Norm, ...]
    access: Access = "white-box"
    budget: Budget = "fixed"
    maximises_loss: bool = False
    targeted: bool = False
    usability: Usability = "usable"
    reason: str = ""
    notes: tuple[str, ...] = ()
    version: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
