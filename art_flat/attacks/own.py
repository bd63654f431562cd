"""User-defined attacks without a plugin: a function, or an attack object of another library, as an `Attack`."""

from __future__ import annotations

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
    """An attack of your own, kept to the same contract as every other: measured, clipped, seeded, restored.

    A function is called as `obj(module, x, y)` with the differentiable model (inputs in clip units → logits),
    the inputs and the labels, and returns points of the shape of `x`; with `budget="fixed"` it also gets
    `delta=` and `norm=`, with `targeted=True` also `target=`, which is None in an untargeted run. Without a fixed
    budget it runs once, and its points are read at every δ: inside the ball or not.

    An attack object of ART or torchattacks keeps the classifier, the radius and the other settings it was made
    with, and δ does not change them: it too runs once and is read at every δ. Made for another classifier, its
    points are transferred to the one attacked. `load_attack("art:…")` follows δ instead, and knows what is
    peculiar to each attack. An object of foolbox has neither classifier nor radius and gets both from the call.
    The range and normalisation of an object's inputs and the meaning of its labels are converted to the
    classifier's; where they cannot be, it is refused.

    Args:
        obj: A function, an `art.attacks.EvasionAttack`, an attack of torchattacks or foolbox, or an `Attack`, which
            is returned unchanged.
        name: What to call it in the records, as `own:name`; by default the name of the function or class.
        norms: Norm or norms it is to be run in; by default the object's own norm if it has one, else all four.
        budget: `"fixed"` for a function that takes δ, `"minimum-norm"` for one that seeks the nearest point.
        access: What it needs of the model; by default what is known of the object's class, else gradients.
        maximises_loss: Whether it maximises the cross-entropy in the ball; by default what is known of the
            object's class, else False.
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
    """What `as_attack` was given."""

    obj: Any
    is_named: bool
    """Whether the user gave the name."""
    again: Callable[[], OwnAttack]
    """Makes the attack again from what the object holds now."""


@dataclass(frozen=True)
class Subject:
    """What is known of a function or an attack object before the user's options.

    Attributes:
        run: From a problem to points in clip units.
        radius: From a problem to the radius, in clip units, that it keeps to; None if it has none.
        norms: The norms it can be run in.
        access: What it needs of the model.
        budget: Whether it takes δ.
        maximises_loss: Whether it maximises the cross-entropy in its ball.
        targeted: Whether it takes target classes.
        must_target: Whether it cannot run without them.
        notes: For readers of its results.
        settings: Its settings that can be part of a name.
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
    """Around what `as_attack` was given."""

    def __init__(self, info: AttackInfo, params: Mapping[str, Any], subject: Subject, source: Source) -> None:
        super().__init__(info, params)
        self._subject = subject
        self.source = source

    def run(self, problem: Problem) -> torch.Tensor:
        """Run the function or object; see `Attack.run`.

        Returns:
            What it returned.

        Raises:
            AttackNotUsableError: If the object was made for target classes and there are none.
        """
        if self._subject.must_target and problem.target is None:
            raise AttackNotUsableError(
                f"{self.info.name} was made targeted and needs target classes: pass `target`"
            )
        points = self._subject.run(problem)
        if isinstance(points, np.ndarray):
            points = torch.from_numpy(points)
        return points  # type: ignore[no-any-return]

    def renamed(self, name: str) -> OwnAttack:
        """The same attack under another name, with the library's prefix."""
        return OwnAttack(replace(self.info, name=name), self.params, self._subject, self.source)

    def repeats(self, other: Attack) -> bool:
        """Whether it is the same object as that of another attack, run in the same way, under any name."""
        if not isinstance(other, OwnAttack):
            return False
        mine, theirs = self.source.obj, other.source.obj
        same = mine is theirs or (isinstance(mine, MethodType) and mine == theirs)
        ours = (replace(a.info, name="", build=type(self)) for a in (self, other))
        return same and self.params == other.params and len({repr(info) for info in ours}) == 1

    def own_radius(self, problem: Problem) -> float | None:
        """The radius that the object was made with; see `Attack.own_radius`."""
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
    return tuple(check_norm(n) for n in ((norms,) if np.ndim(norms) == 0 else norms))


def _name(obj: Any, name: str | None) -> str:
    if name is None:
        name = getattr(obj, "__name__", type(obj).__name__)
        if not name.isidentifier() or name in {"partial", "function", "method"}:
            raise InputError(f'{obj!r} has no name for the records; pass one: as_attack(..., name="mine")')
    if not name or set(name) & set("()*:, "):
        raise InputError(f"`name` must be a word without spaces, brackets, colons or stars, got {name!r}")
    return name
