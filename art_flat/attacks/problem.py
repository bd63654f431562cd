"""What an attack is told, what is known of it, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from ..adapters.base import Adapter, Outputs
from ..typing import Norm

if TYPE_CHECKING:
    from ..typing import Array
    from .base import Attack

Access = Literal["white-box", "black-box", "none"]
Budget = Literal["fixed", "minimum-norm", "none"]
Usability = Literal["usable", "degraded", "refused"]


class Steps(NamedTuple):
    """The steps of an attack that walks a fixed number of steps of one size."""

    size: float
    """Clip units."""
    number: int


@dataclass(frozen=True)
class AttackInfo:
    """What is known of an attack before it is built; `art-flat attacks` lists it.

    Attributes:
        name: `"library:Name"`, as `load_attack` takes it.
        build: Called with the attack's parameters, gives the attack.
        norms: Norms of the ball it can be told to stay in, or the norm it minimises.
        access: What it needs of the model: gradients, outputs only, or nothing.
        budget: `"fixed"`: it takes δ; `"minimum-norm"`: it runs once and seeks the nearest point;
            `"none"`: neither (its points are measured and read at every δ).
        maximises_loss: Whether it looks for the largest cross-entropy in the ball; if not, a loss change found
            by it says little about (δ, ε)-robustness.
        targeted: Whether it takes a target class.
        usability: `"usable"`, `"degraded"` or `"refused"`, with the `reason`.
        reason: Why it is not simply usable.
        notes: Facts about its behaviour that a reader of its results should know.
        version: Version of the library it comes from.
        defaults: Its parameters with their default values.
    """

    name: str
    build: Callable[..., Attack]
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


@dataclass(frozen=True)
class Problem:
    """What an attack's `run` is given; tensors live on the model's device and are not to be changed.

    Attributes:
        net: The adapted classifier.
        module: `x` (n, ...) in clip units → logits (n, k), differentiable; every pass through it is counted.
        x: Clean inputs, shape (n, ...).
        y: True labels, int64, shape (n,).
        target: Target labels, int64, shape (n,), or None.
        delta: Radius in clip units; None only for attacks without a fixed budget.
        norm: Norm of the ball.
        low: Smallest admissible input value, broadcastable to `x`.
        high: Largest admissible input value, broadcastable to `x`.
        seed: Seed of this run; the global generators are already seeded with it and are put back afterwards.
    """

    net: Adapter
    module: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    target: torch.Tensor | None
    delta: float | None
    norm: Norm
    low: torch.Tensor
    high: torch.Tensor
    seed: int


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, measured by art_flat and not by the library; n samples.

    Attributes:
        x: Adversarial points, inside the clip range, shape of the clean inputs.
        success: Points that are wrong (or hit the target) and inside the ball, bool (n,).
        distance: ‖x′ − x‖ in `norm`, float64 (n,).
        within_budget: Points with distance ≤ δ, bool (n,); all True if δ is None.
        status: `"ok"`, `"fallback"` (the attack gave back the clean point or worse) or `"failed"`
            (not finite; the clean point is kept in `x`), text (n,).
        distances: The same distances in every norm.
        outputs: Logits and features at `x`, tensors on the model's device.
        forwards: Forward passes per sample inside the attack; NaN where they cannot be counted.
        backwards: Backward passes per sample inside the attack; NaN where they cannot be counted.
        seconds: Wall-clock time of the attack alone, for the whole batch.
        warnings: Warnings and texts the library gave while it ran.
        attack: The attack with its parameters, as `load_attack` takes it.
        norm: Norm of the ball.
        delta: Radius of the ball in clip units, or None.
        seed: The seed used.
    """

    x: Array
    success: Array
    distance: Array
    within_budget: Array
    status: np.ndarray
    distances: Mapping[Norm, np.ndarray]
    outputs: Outputs
    forwards: float
    backwards: float
    seconds: float
    warnings: tuple[str, ...]
    attack: str
    norm: Norm
    delta: float | None
    seed: int
