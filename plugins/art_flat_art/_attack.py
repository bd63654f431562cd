"""`ArtAttack`: wraps one attack of ART as an `Attack`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from art.attacks import evasion

from art_flat.adapters.base import Adapter
from art_flat.attacks import Attack, AttackInfo, Problem
from art_flat.attacks.base import Steps
from art_flat.attacks.view import Window
from art_flat.errors import AttackNotUsableError, ParameterError
from art_flat.typing import Norm

from ._compat import installed
from ._quirks import scaled_step
from ._spec import ArtCall, ArtSpec
from ._view import SHARD, classifier, from_view, to_view

_ORDER: Mapping[Norm, float] = {"Linf": np.inf, "L2": 2, "L1": 1, "L0": 0}


def describe(row: ArtSpec, version: str) -> AttackInfo:
    """Return the registry entry of an attack.

    Args:
        row: The attack's specification.
        version: ART's version.

    Returns:
        The entry for the registry.
    """
    refusal = row.refusal
    if row.needs and not installed(row.needs):
        refusal = f"needs the package {row.needs}, which is not installed"
    info = AttackInfo(
        name=f"art:{row.name}",
        build=lambda **params: ArtAttack(info, row, params),
        norms=row.norms,
        access=row.access,
        budget=row.budget,
        maximises_loss=row.maximises_loss,
        targeted="targeted" in row.signature if row.targeted is None else row.targeted,
        usability="refused" if refusal else row.usability,
        reason=refusal or row.reason,
        notes=row.notes,
        version=version,
        defaults=row.parameters(),
    )
    return info


class ArtAttack(Attack):
    """An attack of ART with a specification.

    Args:
        info: Registry entry of the attack.
        row: Specification of the attack.
        params: The library's parameters by their own names; steps are in units of `clip_values`, as δ is.

    Raises:
        ParameterError: If a parameter does not exist or is set by the call.
        AttackNotUsableError: If the attack cannot be used in this installation.
    """

    def __init__(self, info: AttackInfo, row: ArtSpec, params: Mapping[str, Any]) -> None:
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
        """Reject unsupported classifiers before any forward pass; see `Attack.check`."""
        wrong = []
        if self.row.step:
            self.require_step(self.row.step[0], self.settings[self.row.step[0]])
        if net.nb_classes < self.row.classes:
            wrong.append(f"needs at least {self.row.classes} classes, the classifier has {net.nb_classes}")
        if self.row.images and len(net.input_shape) != 3:
            wrong.append(f"needs images (channels, height, width), the inputs have shape {net.input_shape}")
        else:
            found = [check(self.settings, net, norm) for check in self.row.checks]
            wrong += [text for text in found if text]
        if wrong:
            raise AttackNotUsableError(f"{self.info.name} {'; '.join(wrong)}")

    def fixed_steps(self, delta: float) -> Steps | None:
        """See `Attack.fixed_steps`."""
        if self.row.step is None or self.row.step[1] is not scaled_step:
            return None
        value, params = self.settings[self.row.step[0]], self.settings
        return Steps(scaled_step(delta, params) if value is None else value, int(params["max_iter"]))

    def run(self, problem: Problem) -> torch.Tensor:
        """See `Attack.run`; solved points are passed to ART only if the attack can still improve them."""
        row, points = self.row, problem.x.clone()
        logits = _clean_logits(problem) if self._needs_logits else None
        todo = torch.ones(len(points), dtype=torch.bool, device=points.device)
        if logits is not None and (row.predicted or row.budget != "fixed"):
            label = logits.argmax(dim=1)
            todo = label == problem.y if problem.target is None else label != problem.target
        radius = self._radius(problem)
        if not bool(todo.any()) or (radius is not None and radius <= 0):
            return points
        window = Window.from_problem(problem)
        x = to_view(points[todo], window, row.layout)
        classes = _labels(row, problem, logits)[todo].cpu().numpy()
        call = ArtCall(
            build=getattr(evasion, row.name),
            arguments=self._arguments(problem, radius, len(x)),
            view=classifier(problem, row.layout, probabilities=row.probabilities),
            x=x,
            y=np.eye(problem.net.nb_classes, dtype=np.float32)[classes],
            target=None if problem.target is None else problem.target[todo].cpu().numpy(),
            label=problem.y[todo].cpu().numpy(),
            pool=to_view(problem.x, window, row.layout),
            delta=radius,
            norm=_ORDER[problem.norm],
            params=self.settings,
        )
        with row.around(problem.seed):
            found = row.run(call)
        points[todo] = from_view(found, x, problem, points[todo], row.layout)
        return points

    @property
    def _needs_logits(self) -> bool:
        return self.row.predicted or self.row.budget != "fixed" or self.row.labels == "wrong"

    def _radius(self, problem: Problem) -> Any:
        if problem.delta is None or self.row.budget != "fixed":
            return None
        if self.row.radius_value is not None:
            return self.row.radius_value(problem)
        return problem.delta / Window.from_problem(problem).size

    def _arguments(self, problem: Problem, radius: Any, n: int) -> dict[str, Any]:
        """The constructor's arguments after the classifier."""
        row, signature = self.row, self.row.signature
        arguments = {k: v for k, v in self.settings.items() if k in signature}
        if row.step and row.step[0] in arguments:
            name, default = row.step
            value = arguments[name]
            unit = Window.from_problem(problem).size
            arguments[name] = default(radius, arguments) if value is None else value / unit
        if arguments.get("batch_size", 0) is None:
            arguments["batch_size"] = min(n, SHARD)
        if row.radius is not None:
            arguments[row.radius] = radius
        set_by_call = {"norm": _ORDER[problem.norm], "targeted": problem.target is not None, "verbose": False}
        return {
            **arguments,
            **{k: v for k, v in set_by_call.items() if k in signature and k not in row.hidden},
        }


def _clean_logits(problem: Problem) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([problem.module(piece) for piece in torch.split(problem.x, SHARD)])


def _labels(row: ArtSpec, problem: Problem, logits: torch.Tensor | None) -> torch.Tensor:
    """The labels that are passed to `generate`."""
    if problem.target is not None:
        return problem.target
    if row.labels == "true" or logits is None:
        return problem.y
    return logits.scatter(1, problem.y[:, None], -torch.inf).argmax(dim=1)
