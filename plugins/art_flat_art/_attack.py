"""One attack of ART behind art_flat's call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from art.attacks import evasion

from art_flat._errors import AttackNotUsableError, ParameterError
from art_flat._types import Norm
from art_flat.adapters.base import Adapter
from art_flat.attacks import Attack, AttackInfo, Problem
from art_flat.attacks.base import Access, Budget

from ._compat import installed, nothing
from ._view import CHANNELS_FIRST, Layout, Scale, classifier, from_view, to_view

SHARD = 128
"""Samples that ART handles at once where its own default would be one."""

_ORDER: Mapping[Norm, float] = {"Linf": np.inf, "L2": 2, "L1": 1, "L0": 0}
_OURS = ("norm", "targeted", "verbose", "summary_writer")


@dataclass(frozen=True)
class Call:
    """What a row's `run` is given: the points to attack, as ART wants them.

    Attributes:
        build: The attack's class.
        arguments: Its constructor's arguments after the classifier.
        view: The classifier.
        x: Clean points in [0, 1], float32.
        y: Labels for `generate`, one-hot float32: true ones, wrong ones or targets, as the row says.
        target: Target classes (n,), or None.
        label: True classes (n,).
        pool: Every clean point of the batch, those included that are not attacked.
        delta: Radius in the attack's units, or None.
        norm: The norm as ART writes it.
        params: What the attack's user may set, defaults included.
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
        """A new attack object; ART's keep state, so none is used twice."""
        return self.build(self.view, **{**self.arguments, **more})

    def some(self, rows: np.ndarray) -> Call:
        """The same for some of the points, chosen by a mask (n,)."""
        target = None if self.target is None else self.target[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], label=self.label[rows], target=target)


def whole(call: Call) -> np.ndarray:
    """Hand over everything at once."""
    return np.asarray(call.attack().generate(call.x, y=call.y))


@dataclass(frozen=True)
class Row:
    """All that is peculiar to one attack of ART.

    Attributes:
        name: Class in `art.attacks.evasion`.
        norms: As in `AttackInfo`; `budget`, `access`, `maximises_loss`, `reason` and `notes` likewise.
        radius: The parameter that takes δ, if one does.
        radius_value: From the problem to that parameter's value.
        step: The parameter that takes a step, and its default from (radius, parameters).
        targeted: Whether it takes a target class; None: if its constructor has the parameter.
        labels: What `generate` is given as y when there is no target: the true class, or the most likely wrong
            one for attacks that read y as a target.
        predicted: It runs away from the predicted class, so points that are wrong already are left alone.
        probabilities: It needs probabilities instead of logits.
        layout: How it needs its inputs arranged.
        run: Calls the library.
        around: Context in which it runs.
        defaults: Defaults that differ from the library's.
        hidden: Parameters that cannot be set.
        extra: Parameters of ours, handled by `run`.
        classes: Smallest number of classes.
        images: It needs inputs of shape (channels, height, width).
        checks: Further conditions: from (parameters, classifier, norm) to what is wrong, or nothing.
        needs: A package without which it is refused.
        refusal: Why it is refused everywhere.
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
    run: Callable[[Call], np.ndarray] = whole
    around: Callable[[int], AbstractContextManager[None]] = nothing
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

    def known(self) -> dict[str, Any]:
        """The parameters that a user may set, with their defaults; None is filled in when δ and x are known."""
        ours = {*_OURS, *self.hidden, self.radius}
        shown = {
            k: None if p.default is p.empty else p.default for k, p in self.signature.items() if k not in ours
        }
        filled = {"batch_size": None} | ({self.step[0]: None} if self.step else {})
        filled = {k: v for k, v in filled.items() if k in shown}
        return {**shown, **filled, **self.defaults, **self.extra}

    def info(self, version: str) -> AttackInfo:
        """What art_flat is told of the attack."""
        refusal = self.refusal
        if self.needs and not installed(self.needs):
            refusal = f"needs the package {self.needs}, which is not installed"
        info = AttackInfo(
            name=f"art:{self.name}",
            build=lambda **params: ArtAttack(info, self, params),
            norms=self.norms,
            access=self.access,
            budget=self.budget,
            maximises_loss=self.maximises_loss,
            targeted="targeted" in self.signature if self.targeted is None else self.targeted,
            usability="refused" if refusal else self.usability,
            reason=refusal or self.reason,
            notes=self.notes,
            version=version,
            defaults=self.known(),
        )
        return info


class ArtAttack(Attack):
    """An attack of ART, as its row says.

    Args:
        info: What is known of the attack.
        row: What is peculiar to it.
        params: The library's parameters by their own names; steps are in units of `clip_values`, as δ is.

    Raises:
        ParameterError: If a parameter does not exist or is given by the call instead.
        AttackNotUsableError: If it cannot be used here and its parameters cannot be checked either.
    """

    def __init__(self, info: AttackInfo, row: Row, params: Mapping[str, Any]) -> None:
        unknown = [key for key in params if key not in info.defaults]
        if unknown and info.usability == "refused":
            raise AttackNotUsableError(f"{info.name} cannot be used: {info.reason}")
        given_by_call = {row.radius: "delta", "norm": "norm", "targeted": "target"}
        for key in unknown:
            if key in given_by_call:
                instead = given_by_call[key]
                raise ParameterError(
                    f"{info.name}: `{key}` follows from `{instead}=` of the call; leave it out"
                )
        super().__init__(info, params)
        self.row = row

    def check(self, net: Adapter, norm: Norm) -> None:
        """Refuse what the library cannot do, before any forward pass; see `Attack.check`."""
        wrong = []
        if net.nb_classes < self.row.classes:
            wrong.append(f"needs at least {self.row.classes} classes, the classifier has {net.nb_classes}")
        if self.row.images and len(net.input_shape) != 3:
            wrong.append(f"needs images (channels, height, width), the inputs have shape {net.input_shape}")
        else:
            found = [check(self._all_params, net, norm) for check in self.row.checks]
            wrong += [text for text in found if text]
        if wrong:
            raise AttackNotUsableError(f"{self.info.name} {'; '.join(wrong)}")

    def run(self, problem: Problem) -> torch.Tensor:
        """See `Attack.run`; points that are solved already are handed over only where more can be gained."""
        row, points = self.row, problem.x.clone()
        logits = _clean_logits(problem) if self._needs_logits else None
        todo = torch.ones(len(points), dtype=torch.bool, device=points.device)
        if logits is not None and (row.predicted or row.budget != "fixed"):
            label = logits.argmax(dim=1)
            todo = label == problem.y if problem.target is None else label != problem.target
        radius = self._radius(problem)
        if not bool(todo.any()) or (radius is not None and radius <= 0):
            return points
        scale = Scale.of(problem)
        x = to_view(points[todo], scale, row.layout)
        classes = _labels(row, problem, logits)[todo].cpu().numpy()
        call = Call(
            build=getattr(evasion, row.name),
            arguments=self._arguments(problem, radius, len(x)),
            view=classifier(problem, row.layout, probabilities=row.probabilities),
            x=x,
            y=np.eye(problem.net.nb_classes, dtype=np.float32)[classes],
            target=None if problem.target is None else problem.target[todo].cpu().numpy(),
            label=problem.y[todo].cpu().numpy(),
            pool=to_view(problem.x, scale, row.layout),
            delta=radius,
            norm=_ORDER[problem.norm],
            params=self._all_params,
        )
        with row.around(problem.seed):
            found = row.run(call)
        points[todo] = from_view(found, x, problem, points[todo], row.layout)
        return points

    @property
    def _all_params(self) -> dict[str, Any]:
        return {**self.info.defaults, **self.params}

    @property
    def _needs_logits(self) -> bool:
        return self.row.predicted or self.row.budget != "fixed" or self.row.labels == "wrong"

    def _radius(self, problem: Problem) -> Any:
        if problem.delta is None or self.row.budget != "fixed":
            return None
        if self.row.radius_value is not None:
            return self.row.radius_value(problem)
        return problem.delta / Scale.of(problem).size

    def _arguments(self, problem: Problem, radius: Any, n: int) -> dict[str, Any]:
        """The constructor's arguments after the classifier."""
        row, signature = self.row, self.row.signature
        arguments = {k: v for k, v in self._all_params.items() if k in signature}
        if row.step and row.step[0] in arguments:
            name, default = row.step
            given = arguments[name]
            unit = Scale.of(problem).size
            arguments[name] = default(radius, arguments) if given is None else float(given) / unit
        if arguments.get("batch_size", 0) is None:
            arguments["batch_size"] = min(n, SHARD)
        if row.radius is not None:
            arguments[row.radius] = radius
        ours = {"norm": _ORDER[problem.norm], "targeted": problem.target is not None, "verbose": False}
        return {**arguments, **{k: v for k, v in ours.items() if k in signature and k not in row.hidden}}


def _clean_logits(problem: Problem) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([problem.module(piece) for piece in torch.split(problem.x, SHARD)])


def _labels(row: Row, problem: Problem, logits: torch.Tensor | None) -> torch.Tensor:
    """The classes that `generate` is given."""
    if problem.target is not None:
        return problem.target
    if row.labels == "true" or logits is None:
        return problem.y
    return logits.scatter(1, problem.y[:, None], -torch.inf).argmax(dim=1)
