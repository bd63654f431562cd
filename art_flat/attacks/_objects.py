"""Attack objects of other libraries: what each expects of its inputs, labels and model, and how it is called.

An object brings conventions of its own: the range and the normalisation of its inputs, what its labels mean, the
model it was made with. Each is converted to those of the classifier attacked, or refused in a sentence. No library
is imported here, since who has an object of one has done so.
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
"""Settings of library objects that do not change what they find, or that are not settings."""


@dataclass(frozen=True)
class LibraryObject:
    """How an attack object of a library is run.

    Attributes:
        settings: Its settings that can be part of a name.
        run: From a problem to points in clip units.
        unit: From a problem to the length, in clip units, that the object's own radius counts in.
        norms: The norms it can run in, or None if it does not say.
        info: What the registry knows of its class, or None for classes of the user's own.
        maximises_loss: Whether it maximises the cross-entropy in its ball.
        targeted: Whether it takes target classes.
        must_target: Whether it cannot run without them.
        budget: `"fixed"` if it takes δ at every call; else it keeps the radius that it was made with.
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
    """Whether `obj` is of a class of a module that has been imported."""
    found = getattr(sys.modules.get(module), cls, None)
    return found is not None and isinstance(obj, found)


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that can be part of a name; numbers of NumPy as Python's."""
    values = {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}
    return {
        k: v
        for k, v in sorted(values.items())
        if isinstance(v, (bool, int, float, str)) and not k.startswith("_") and k not in _SILENT
    }


def own_norm(value: Any) -> tuple[Norm, ...] | None:
    """The norm an object names as its own, or None if it names none."""
    try:
        return (check_norm(value),)
    except UnknownNameError:
        return None


def registered(obj: Any, library: str) -> AttackInfo | None:
    """What the registry knows of an object's class; None for subclasses, whose code is another's."""
    if type(obj).__module__.split(".")[0] != library:
        return None
    return list_attacks(library).get(f"{library}:{type(obj).__name__}")


def same_weights(model: Any, problem: Problem) -> bool:
    """Whether a model has exactly the parameters of the classifier attacked, so that it is meant to be that one."""
    attacked = getattr(getattr(problem.net, "estimator", None), "model", None)
    if not (isinstance(model, nn.Module) and isinstance(attacked, nn.Module)):
        return False
    pairs = [[p.detach() for p in m.parameters()] for m in (model, attacked)]
    if not pairs[0] or len(pairs[0]) != len(pairs[1]):
        return False
    return all(
        a.shape == b.shape and a.device == b.device and torch.equal(a, b) for a, b in zip(*pairs, strict=True)
    )
