"""Attack objects of other libraries: their conventions for inputs, labels and model, and how to call them.

An object has its own conventions: the range and the normalisation of its inputs, the meaning of its labels, the
model it was built with. Each is converted to those of the attacked classifier, or rejected with an error. No library
is imported here, since an existing object implies that its library is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .._utils.validation import check_norm
from ..errors import UnknownNameError
from ..typing import Norm
from .base import AttackInfo, Budget
from .problem import Problem
from .registry import list_attacks

_SILENT = {"verbose", "summary_writer", "device", "attack"}
"""Attributes of library objects that are not settings, or do not affect results."""


@dataclass(frozen=True)
class LibraryObject:
    """Description of an attack object of a library.

    Attributes:
        settings: The settings that become part of its name.
        run: Maps a problem to points in clip units.
        unit: Maps a problem to the unit, in clip units, of the object's own radius.
        norms: The norms that it supports, or None if unknown.
        info: Registry entry of its class, or None for user-defined classes.
        maximises_loss: Whether it maximises the cross-entropy in its ball.
        targeted: Whether it takes target classes.
        must_target: Whether it requires them.
        budget: `"fixed"` if it takes δ at every call; else it uses the radius it was built with.
    """

    settings: Mapping[str, Any]
    run: Callable[[Problem], torch.Tensor]
    unit: Callable[[Problem], float]
    norms: tuple[Norm, ...] | None
    info: AttackInfo | None
    maximises_loss: bool
    targeted: bool
    must_target: bool
    budget: Budget = "none"


def is_instance(obj: Any, module: str, cls: str) -> bool:
    """Whether `obj` is an instance of a class of an imported module."""
    imported = getattr(sys.modules.get(module), cls, None)
    return imported is not None and isinstance(obj, imported)


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that can be part of a name; NumPy numbers become Python numbers."""
    values = {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}
    return {
        k: v
        for k, v in sorted(values.items())
        if isinstance(v, (bool, int, float, str)) and not k.startswith("_") and k not in _SILENT
    }


def own_norm(value: Any) -> tuple[Norm, ...] | None:
    """The norm of an object's own attribute, or None."""
    try:
        return (check_norm(value),)
    except UnknownNameError:
        return None


def registered(obj: Any, library: str) -> AttackInfo | None:
    """The registry entry of an object's class; None for subclasses, whose code differs."""
    if type(obj).__module__.split(".")[0] != library:
        return None
    return list_attacks(library).get(f"{library}:{type(obj).__name__}")


def same_weights(model: Any, problem: Problem) -> bool:
    """Whether a model has exactly the parameters of the attacked classifier, and so represents it."""
    attacked = getattr(getattr(problem.net, "estimator", None), "model", None)
    if not (isinstance(model, nn.Module) and isinstance(attacked, nn.Module)):
        return False
    pairs = [[p.detach() for p in m.parameters()] for m in (model, attacked)]
    if not pairs[0] or len(pairs[0]) != len(pairs[1]):
        return False
    return all(
        a.shape == b.shape and a.device == b.device and torch.equal(a, b) for a, b in zip(*pairs, strict=True)
    )
