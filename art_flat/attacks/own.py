"""User-defined attacks without a plugin: a function, or an attack object of another library, as an `Attack`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MethodType
from typing import Any, NamedTuple

import numpy as np
import torch

from .._utils.validation import check_norm
from ..errors import AttackNotUsableError, InputError
from ..typing import NORMS, Norm
from ._fingerprint import identity
from ._objects import LibraryObject
from ._parameters import call_text, signature_defaults
from ._read_object import read_object
from .base import Access, Attack, AttackInfo, Budget, Problem


def as_attack(
    obj: Any,
    *,
    name: str | None = None,
    norms: Any = None,
    budget: Budget = "none",
    access: Access | None = None,
    maximises_loss: bool | None = None,
    targeted: bool = False,
    version: str | None = None,
) -> Attack:
    """A user-defined attack under the same contract as every other: measured, clipped, seeded, restored.

    A function is called as `obj(module, x, y)` with the differentiable model (inputs in clip units → logits),
    the inputs and the labels, and returns points of the shape of `x`; with `budget="fixed"` it also gets
    `delta=` and `norm=`, with `targeted=True` also `target=`, which is None in an untargeted run. Without a fixed
    budget it runs once, and its points are read at every δ: inside the ball or not.

    An attack object of ART or torchattacks keeps the classifier, the radius and the other settings it was built
    with, and δ does not change them: it also runs once and is read at every δ. Built for another classifier, its
    points are transferred to the attacked one. `load_attack("art:…")` uses δ instead, and handles the
    peculiarities of each attack. An object of foolbox has neither classifier nor radius and gets both from the call.
    The range and normalisation of an object's inputs and the meaning of its labels are converted to the
    classifier's; if that is impossible, an error is raised.

    Args:
        obj: A function, an `art.attacks.EvasionAttack`, an attack of torchattacks or foolbox, or an `Attack`, which
            is returned unchanged.
        name: Its name in the records, as `own:name`; by default the name of the function or class; a
            `functools.partial` has that of its function.
        norms: Norm or norms of its runs; by default the object's own norm if it has one, else all four.
        budget: `"fixed"` for a function that takes δ, `"minimum-norm"` for one that minimises the distance.
        access: Required access to the model; by default that of the object's class, else gradients.
        maximises_loss: Whether it maximises the cross-entropy in the ball; by default the value for the
            object's class, else False.
        targeted: Whether a function takes target classes; for objects it is detected.
        version: A text that changes when its results would. It identifies the attack when a run is resumed: by default
            a hash of the code of the function or class, its closure, arguments and attributes, but not
            of other modules that it calls. Required for an attack that changes its own attributes during a run,
            and would be a different attack after every run.

    Returns:
        The attack.

    Raises:
        InputError: If `obj` is none of these, or has no name and none is given.
        UnknownNameError: If a norm is unknown.

    >>> as_attack(lambda module, x, y: 1 - x, name="negative")
    <attack own:negative>
    """
    if isinstance(obj, Attack):
        return obj

    return _own_attack(obj, _Options(name, norms, budget, access, maximises_loss, targeted, version))


class _Options(NamedTuple):
    """The options of `as_attack`."""

    name: str | None
    norms: Any
    budget: Budget
    access: Access | None
    maximises_loss: bool | None
    targeted: bool
    version: str | None


def _own_attack(obj: Any, options: _Options) -> OwnAttack:
    subject = _subject(obj, options)
    source = Source(obj, options.name is not None, lambda: _own_attack(obj, options))
    maximises_loss = options.maximises_loss
    info = AttackInfo(
        name=f"own:{_name(obj, options.name)}",
        build=lambda **params: OwnAttack(info, params, subject, source),
        norms=subject.norms if options.norms is None else _norms(options.norms),
        access=options.access or subject.access,
        budget=subject.budget if options.budget == "none" else options.budget,
        maximises_loss=subject.maximises_loss if maximises_loss is None else maximises_loss,
        targeted=subject.targeted,
        notes=subject.notes,
        version=identity(obj) if options.version is None else options.version,
        defaults=subject.settings,
    )
    return OwnAttack(info, subject.settings, subject, source)


class Source(NamedTuple):
    """The argument of `as_attack`."""

    obj: Any
    is_named: bool
    """Whether the user chose the name."""
    again: Callable[[], OwnAttack]
    """Rebuilds the attack from the current state of the object."""


@dataclass(frozen=True)
class Subject:
    """Default properties of a function or an attack object.

    Attributes:
        run: Maps a problem to points in clip units.
        radius: Maps a problem to its own radius, in clip units; None if it has none.
        norms: The norms that it supports.
        access: Required access to the model.
        budget: Whether it takes δ.
        maximises_loss: Whether it maximises the cross-entropy in its ball.
        targeted: Whether it takes target classes.
        must_target: Whether it requires them.
        notes: Notes for readers of its results.
        settings: The settings that become part of its name.
    """

    run: Callable[[Problem], Any]
    radius: Callable[[Problem], float | None] = lambda problem: None
    norms: tuple[Norm, ...] = NORMS
    access: Access = "white-box"
    budget: Budget = "none"
    maximises_loss: bool = False
    targeted: bool = False
    must_target: bool = False
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


class OwnAttack(Attack):
    """The attack returned by `as_attack`."""

    def __init__(self, info: AttackInfo, params: Mapping[str, Any], subject: Subject, source: Source) -> None:
        super().__init__(info, params)
        self._subject = subject
        self.source = source

    def run(self, problem: Problem) -> torch.Tensor:
        """Run the function or object; see `Attack.run`.

        Returns:
            The points.

        Raises:
            AttackNotUsableError: If the object requires target classes and there are none.
        """
        if self._subject.must_target and problem.target is None:
            raise AttackNotUsableError(
                f"{self.info.name} was made targeted and needs target classes: pass `target`"
            )
        points: torch.Tensor = self._subject.run(problem)
        return points

    @property
    def short_name(self) -> str:
        """The name of the function or class, with the settings that differ from the constructor's defaults."""
        name = self.info.name.removeprefix("own:")
        if not self.params:
            return name
        defaults = signature_defaults(type(self.source.obj))
        return call_text(name, {k: v for k, v in self.params.items() if k in defaults}, defaults)

    def renamed(self, name: str) -> OwnAttack:
        """The same attack under another name, with the library's prefix."""
        return OwnAttack(replace(self.info, name=name), self.params, self._subject, self.source)

    def repeats(self, other: Attack) -> bool:
        """Whether another attack wraps the same object with the same settings, under any name."""
        if not isinstance(other, OwnAttack):
            return False
        own_object, other_object = self.source.obj, other.source.obj
        same = own_object is other_object or (
            isinstance(own_object, MethodType) and own_object == other_object
        )
        infos = (replace(a.info, name="", build=type(self)) for a in (self, other))
        return same and self.params == other.params and len({repr(info) for info in infos}) == 1

    def own_radius(self, problem: Problem) -> float | None:
        """The radius that the object was built with; see `Attack.own_radius`."""
        return self._subject.radius(problem)


def _subject(obj: Any, options: _Options) -> Subject:
    library = read_object(obj)
    if library is not None:
        _check_budget(obj, options.budget, library)
        return _library_subject(obj, library)
    if callable(obj) and not isinstance(obj, type):
        return Subject(_function(obj, options.budget, options.targeted), targeted=options.targeted)
    raise InputError(
        f"cannot attack with {obj!r}; pass a function (module, x, y) -> x_adv, an attack object of ART, "
        "torchattacks or foolbox (an instance, not its class), or a name to load_attack"
    )


def _library_subject(obj: Any, library: LibraryObject) -> Subject:
    keeps_radius = ("an object with its own settings; delta does not change what it does",)
    return Subject(
        run=library.run,
        radius=_radius_of(obj, library),
        norms=library.norms or NORMS,
        access="white-box" if library.info is None else library.info.access,
        budget=library.budget,
        maximises_loss=library.maximises_loss,
        targeted=library.targeted,
        must_target=library.must_target,
        notes=keeps_radius if library.budget == "none" else (),
        settings=library.settings,
    )


def _function(function: Callable[..., Any], budget: Budget, targeted: bool) -> Callable[[Problem], Any]:
    def run(problem: Problem) -> Any:
        radius = {"delta": problem.delta, "norm": problem.norm} if budget == "fixed" else {}
        aim = {"target": None if problem.target is None else problem.target.clone()} if targeted else {}
        return function(problem.module, problem.x.clone(), problem.y.clone(), **radius, **aim)

    return run


def _radius_of(attack: Any, library: LibraryObject) -> Callable[[Problem], float | None]:
    """The largest radius of an object whose `eps` is a number or an array, in clip units."""

    def radius(problem: Problem) -> float | None:
        try:
            largest = float(np.max(attack.eps))
        except (AttributeError, TypeError, ValueError):
            return None
        return largest * library.unit(problem) if 0 < largest < np.inf else None

    return radius


def _check_budget(obj: Any, budget: Budget, library: LibraryObject) -> None:
    if budget == "fixed" != library.budget:
        raise InputError(
            f"{type(obj).__name__} got its radius when it was made, so its budget cannot be fixed by δ; "
            'leave `budget` out, or use load_attack("library:Name")'
        )


def _norms(norms: Any) -> tuple[Norm, ...]:
    checked = tuple(dict.fromkeys(check_norm(n) for n in ((norms,) if np.ndim(norms) == 0 else norms)))
    if not checked:
        raise InputError('`norms` is empty; pass at least one, such as norms=["Linf"], or leave it out')
    return checked


def _name(obj: Any, name: str | None) -> str:
    if name is None:
        while isinstance(obj, functools.partial) and not hasattr(obj, "__name__"):
            obj = obj.func
        name = getattr(obj, "__name__", type(obj).__name__)
        if not name.isidentifier() or name in {"partial", "function", "method"}:
            raise InputError(f'{obj!r} has no name for the records; pass one: as_attack(..., name="mine")')
    if not name or set(name) & set("()*:, "):
        raise InputError(f"`name` must be a word without spaces, brackets, colons or stars, got {name!r}")
    return name
