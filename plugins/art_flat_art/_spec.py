"""`ArtSpec`: the specification of one attack of ART, and `ArtCall`, one call of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from art.attacks import evasion

from art_flat.adapters.base import Adapter
from art_flat.attacks import Problem
from art_flat.attacks.base import Access, Budget
from art_flat.typing import Norm

from ._compat import no_context
from ._view import CHANNELS_FIRST, Layout

_OURS = ("norm", "targeted", "verbose", "summary_writer")


@dataclass(frozen=True)
class ArtCall:
    """The input of a specification's `run`: the points to attack, in ART's layout.

    Attributes:
        build: The attack's class.
        arguments: Its constructor's arguments after the classifier.
        view: The classifier.
        x: Clean points in [0, 1], float32.
        y: Labels for `generate`, one-hot float32: true ones, wrong ones or targets, see `ArtSpec.labels`.
        target: Target classes (n,), or None.
        label: True classes (n,).
        pool: Every clean point of the batch, including those that are not attacked.
        delta: Radius in the attack's units, or None.
        norm: The norm in ART's notation.
        params: Parameters that a user may set, including defaults.
    """

    build: type[Any]
    arguments: dict[str, Any]
    view: Any
    x: np.ndarray
    y: np.ndarray
    target: np.ndarray | None
    label: np.ndarray
    pool: np.ndarray
    delta: float | None
    norm: float
    params: Mapping[str, Any]

    def attack(self, **more: Any) -> Any:
        """A new attack object; ART's objects are stateful, so none is used twice."""
        return self.build(self.view, **{**self.arguments, **more})

    def some(self, rows: np.ndarray) -> ArtCall:
        """The same call for a subset of the points, given by a mask (n,)."""
        target = None if self.target is None else self.target[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], label=self.label[rows], target=target)


def whole_batch(call: ArtCall) -> np.ndarray:
    """Run the attack on the whole batch at once."""
    return np.asarray(call.attack().generate(call.x, y=call.y))


@dataclass(frozen=True)
class ArtSpec:
    """Specification of one attack of ART.

    Attributes:
        name: Class in `art.attacks.evasion`.
        norms: As in `AttackInfo`; `budget`, `access`, `maximises_loss`, `reason` and `notes` likewise.
        radius: The parameter that takes δ, if one does.
        radius_value: From the problem to that parameter's value.
        step: The parameter that takes a step, and its default from (radius, parameters).
        targeted: Whether it takes a target class; None: if its constructor has the parameter.
        labels: The y of `generate` without a target: the true class, or the most likely wrong
            one for attacks that read y as a target.
        predicted: It moves away from the predicted class, so misclassified points are left unchanged.
        probabilities: Whether it needs probabilities instead of logits.
        layout: Layout of its inputs.
        run: Function that calls the library.
        around: Context manager around the run.
        defaults: Defaults that differ from the library's.
        hidden: Parameters that cannot be set.
        extra: Parameters of art_flat, handled by `run`.
        classes: Smallest number of classes.
        images: Whether it needs inputs of shape (channels, height, width).
        checks: Further conditions: functions of (parameters, classifier, norm) that return an error message or None.
        needs: A package that it requires.
        refusal: Reason why it can never be used.
        usability: As in `AttackInfo`.
    """

    name: str
    norms: tuple[Norm, ...]
    budget: Budget = "fixed"
    access: Access = "white-box"
    maximises_loss: bool = False
    radius: str | None = None
    radius_value: Callable[[Problem], Any] | None = None
    step: tuple[str, Callable[[float, Mapping[str, Any]], float]] | None = None
    targeted: bool | None = None
    labels: Literal["true", "wrong"] = "true"
    predicted: bool = False
    probabilities: bool = False
    layout: Layout = CHANNELS_FIRST
    run: Callable[[ArtCall], np.ndarray] = whole_batch
    around: Callable[[int], AbstractContextManager[None]] = no_context
    defaults: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    classes: int = 2
    images: bool = False
    checks: tuple[Callable[[Mapping[str, Any], Adapter, Norm], str | None], ...] = ()
    needs: str = ""
    refusal: str = ""
    usability: Literal["usable", "degraded"] = "usable"
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def signature(self) -> Mapping[str, inspect.Parameter]:
        """The constructor's parameters after the classifier; empty if this installation lacks the class."""
        build = getattr(evasion, self.name, None)
        if build is None:
            return {}
        return dict(list(inspect.signature(build.__init__).parameters.items())[2:])

    def parameters(self) -> dict[str, Any]:
        """The parameters that a user may set, with their defaults; None is replaced when δ and x are known."""
        reserved = {*_OURS, *self.hidden, self.radius}
        shown = {
            k: None if p.default is p.empty else p.default
            for k, p in self.signature.items()
            if k not in reserved
        }
        filled = {"batch_size": None} | ({self.step[0]: None} if self.step else {})
        filled = {k: v for k, v in filled.items() if k in shown}
        return {**shown, **filled, **self.defaults, **self.extra}
