"""Your own attack without a plugin: a function, or an attack object of ART or torchattacks, as an `Attack`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MethodType
from typing import Any, NamedTuple

import numpy as np
import torch

from .._arrays import to_numpy
from .._checks import check_norm
from .._errors import AttackNotUsableError, InputError, UnknownNameError
from .._types import NORMS, Norm
from ._fingerprint import identity
from .base import Access, Attack, AttackInfo, Budget, Problem

_SILENT = {"verbose", "summary_writer", "device", "attack_mode"}
"""Settings of library objects that do not change what they find, or that are no settings."""


def as_attack(
    obj: Any,
    *,
    name: str | None = None,
    norms: Any = None,
    budget: Budget = "none",
    access: Access = "white-box",
    maximises_loss: bool = False,
    targeted: bool = False,
    version: str | None = None,
) -> Attack:
    """An attack of your own, kept to the same contract as every other: measured, clipped, seeded, put back.

    A function is called as `obj(module, x, y)` with the differentiable model (inputs in clip units → logits),
    the inputs and the labels, and returns points of the shape of `x`; with `budget="fixed"` it also gets
    `delta=` and `norm=`, with `targeted=True` also `target=`, which is None in an untargeted run. Without a fixed
    budget it runs once, and its points are read at every δ: inside the ball or not.

    An attack object of ART or torchattacks keeps the classifier, the radius and the other settings it was made
    with, and δ does not change them: it too runs once and is read at every δ. Made for another classifier, its
    points are transferred to the one attacked. `load_attack("art:…")` follows δ instead, and knows what is
    peculiar to each attack.

    Args:
        obj: A function, an `art.attacks.EvasionAttack`, an attack of torchattacks, or an `Attack`, which is given
            back as it is.
        name: What to call it in the records, as `own:name`; by default the name of the function or class.
        norms: Norm or norms it is to be run in; by default the object's own norm if it has one, else all four.
        budget: `"fixed"` for a function that takes δ, `"minimum-norm"` for one that seeks the nearest point.
        access: What it needs of the model.
        maximises_loss: Whether it looks for the largest cross-entropy in the ball.
        targeted: Whether a function takes target classes; objects know it themselves.
        version: Anything that changes when its results would. Results folders are resumed by it: by default it is
            made from the code of the function or class, its closure, arguments, attributes and what they hold, but not
            from the code of other modules that it calls. Give one to an attack that counts or draws in its own
            attributes, and would seem another attack after every run.

    Returns:
        The attack.

    Raises:
        InputError: If it is none of these, or has no name of its own and none is given.
        UnknownNameError: If a norm is none.

    >>> as_attack(lambda module, x, y: 1 - x, name="negative")
    <attack own:negative>
    """
    if isinstance(obj, Attack):
        return obj

    def again() -> OwnAttack:
        made = as_attack(
            obj,
            name=name,
            norms=asked,
            budget=budget,
            access=access,
            maximises_loss=maximises_loss,
            targeted=targeted,
            version=given,
        )
        assert isinstance(made, OwnAttack)
        return made

    asked, given = norms, version
    settings: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    must_target = False
    run: Callable[[Problem], Any]
    radius: Callable[[Problem], float | None] = _no_radius
    if _is_instance(obj, "art.attacks.attack", "EvasionAttack"):
        settings, run = _plain({k: getattr(obj, k, None) for k in obj.attack_params}), _art(obj)
        radius = _radius_of(obj, lambda problem: 1.0)
    elif _is_instance(obj, "torchattacks.attack", "Attack"):
        settings, run = _plain(vars(obj)), _torchattacks(obj)
        radius = _radius_of(obj, lambda problem: float((problem.high - problem.low).max()))
    elif callable(obj) and not isinstance(obj, type):
        run = _function(obj, budget, targeted)
    else:
        raise InputError(
            f"cannot attack with {obj!r}; pass a function (module, x, y) -> x_adv, an attack object of ART or "
            "torchattacks (an instance, not its class), or a name to load_attack"
        )
    if settings is not None:
        if budget == "fixed":
            raise InputError(
                f"{type(obj).__name__} got its radius when it was made, so its budget cannot be fixed by δ; "
                'leave `budget` out, or use load_attack("library:Name")'
            )
        targeted = must_target = _wants_target(obj)
        notes = ("an object with its own classifier and settings; delta does not change what it does",)
        norms = _own_norm(obj) if norms is None else norms
    info = AttackInfo(
        name=f"own:{_name(obj, name)}",
        build=lambda **params: OwnAttack(
            info, params, run, radius, Source(obj, name is not None, again), must_target=must_target
        ),
        norms=_norms(norms),
        access=access,
        budget=budget,
        maximises_loss=maximises_loss,
        targeted=targeted,
        notes=notes,
        version=identity(obj) if version is None else version,
        defaults=settings or {},
    )
    return info.build(**info.defaults)


class Source(NamedTuple):
    """What `as_attack` was given."""

    obj: Any
    is_named: bool
    """Whether the user gave the name."""
    again: Callable[[], OwnAttack]
    """Makes the attack again from what the object holds now."""


class OwnAttack(Attack):
    """Around what `as_attack` was given."""

    def __init__(
        self,
        info: AttackInfo,
        params: Mapping[str, Any],
        run: Callable[[Problem], Any],
        radius: Callable[[Problem], float | None],
        source: Source,
        *,
        must_target: bool,
    ) -> None:
        super().__init__(info, params)
        self._run = run
        self._radius = radius
        self.source = source
        self._must_target = must_target

    def run(self, problem: Problem) -> torch.Tensor:
        """Run the function or object; see `Attack.run`.

        Returns:
            What it gave back.

        Raises:
            AttackNotUsableError: If the object was made for target classes and there are none.
        """
        if self._must_target and problem.target is None:
            raise AttackNotUsableError(
                f"{self.info.name} was made targeted and needs target classes: pass `target`"
            )
        points = self._run(problem)
        if isinstance(points, np.ndarray):
            points = torch.from_numpy(points)
        return points  # type: ignore[no-any-return]

    def renamed(self, name: str) -> OwnAttack:
        """The same attack under another name, with the library's prefix."""
        info = replace(self.info, name=name)
        return OwnAttack(
            info, self.params, self._run, self._radius, self.source, must_target=self._must_target
        )

    def repeats(self, other: Attack) -> bool:
        """Whether it is the same object as that of another attack, run in the same way, whatever it is called."""
        if not isinstance(other, OwnAttack):
            return False
        mine, theirs = self.source.obj, other.source.obj
        same = mine is theirs or (isinstance(mine, MethodType) and mine == theirs)
        ours = (replace(a.info, name="", build=type(self)) for a in (self, other))
        return same and self.params == other.params and len({repr(info) for info in ours}) == 1

    def own_radius(self, problem: Problem) -> float | None:
        """The radius that the object was made with; see `Attack.own_radius`."""
        return self._radius(problem)


def _function(function: Callable[..., Any], budget: Budget, targeted: bool) -> Callable[[Problem], Any]:
    def run(problem: Problem) -> Any:
        radius = {"delta": problem.delta, "norm": problem.norm} if budget == "fixed" else {}
        aim = {"target": None if problem.target is None else problem.target.clone()} if targeted else {}
        return function(problem.module, problem.x.clone(), problem.y.clone(), **radius, **aim)

    return run


def _art(attack: Any) -> Callable[[Problem], Any]:
    """ART takes arrays in clip units and one-hot labels: the true ones, or the targets of a targeted attack."""

    def run(problem: Problem) -> Any:
        labels = problem.y if problem.target is None else problem.target
        one_hot = np.eye(problem.net.nb_classes, dtype=np.float32)[to_numpy(labels)]
        return torch.from_numpy(attack.generate(to_numpy(problem.x).astype(np.float32), y=one_hot))

    return run


def _torchattacks(attack: Any) -> Callable[[Problem], Any]:
    """torchattacks takes float32 tensors in [0, 1] and class indices."""

    def run(problem: Problem) -> Any:
        labels = problem.y if problem.target is None else problem.target
        span = problem.high - problem.low
        unit = ((problem.x - problem.low) / span).float()
        points = attack(unit, labels).detach()
        back = points.to(problem.x.dtype) * span + problem.low
        return torch.where(points == unit, problem.x, back)

    return run


def _no_radius(problem: Problem) -> None:
    return None


def _radius_of(attack: Any, unit: Callable[[Problem], float]) -> Callable[[Problem], float | None]:
    """The largest radius of an object whose `eps` is a number or an array, in lengths of `unit` in clip units."""

    def radius(problem: Problem) -> float | None:
        try:
            largest = float(np.max(attack.eps))
        except (AttributeError, TypeError, ValueError):
            return None
        return largest * unit(problem) if 0 < largest < np.inf else None

    return radius


def _is_instance(obj: Any, module: str, cls: str) -> bool:
    """Whether `obj` is of a library's class; the library is not imported, since who has an object has done so."""
    found = getattr(sys.modules.get(module), cls, None)
    return found is not None and isinstance(obj, found)


def _wants_target(attack: Any) -> bool:
    """Whether the labels it is given are to be targets; torchattacks can also choose targets by itself."""
    return bool(attack.targeted) if not hasattr(attack, "attack_mode") else "label" in attack.attack_mode


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that can be part of a name; numbers of NumPy as Python's."""
    values = {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}
    return {
        k: v
        for k, v in sorted(values.items())
        if isinstance(v, (bool, int, float, str)) and not k.startswith("_") and k not in _SILENT | {"attack"}
    }


def _own_norm(attack: Any) -> tuple[Norm, ...] | None:
    try:
        return (check_norm(getattr(attack, "norm", None)),)
    except UnknownNameError:
        return None


def _norms(norms: Any) -> tuple[Norm, ...]:
    if norms is None:
        return NORMS
    return tuple(check_norm(n) for n in ((norms,) if np.ndim(norms) == 0 else norms))


def _name(obj: Any, name: str | None) -> str:
    if name is None:
        name = getattr(obj, "__name__", type(obj).__name__)
        if not name.isidentifier() or name in {"partial", "function", "method"}:
            raise InputError(f'{obj!r} has no name for the records; pass one: as_attack(..., name="mine")')
    if not name or set(name) & set("()*:, "):
        raise InputError(f"`name` must be a word without spaces, brackets, colons or stars, got {name!r}")
    return name
