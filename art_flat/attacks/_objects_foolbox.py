"""Attack objects of foolbox: model and radius are arguments of their call."""

from __future__ import annotations

import sys
from typing import Any

import torch

from ._objects import LibraryObject, is_instance, own_norm, plain_settings, registered
from .base import Budget
from .problem import Problem
from .view import UnitView


def read(attack: Any) -> LibraryObject:
    """The description of a foolbox object; see `read_object`.

    Returns:
        Its description.
    """
    info, budget = registered(attack, "foolbox"), _budget(attack)
    targeted = info is not None and info.targeted
    return LibraryObject(
        settings=plain_settings(vars(attack)),
        run=lambda problem: _run(attack, problem, budget),
        unit=lambda problem: 1.0,
        norms=_norms(attack) or (info.norms if info is not None else None),
        info=info,
        maximises_loss=info is not None and info.maximises_loss,
        targeted=targeted,
        must_target=False,
        budget=budget,
    )


def _budget(attack: Any) -> Budget:
    base = "foolbox.attacks.base"
    if is_instance(attack, base, "Repeated"):
        return _budget(attack.attack)
    if is_instance(attack, base, "FixedEpsilonAttack"):
        return "fixed"
    return "minimum-norm" if is_instance(attack, base, "MinimizationAttack") else "none"


def _norms(attack: Any) -> Any:
    try:
        return own_norm(attack.distance.p)
    except (AttributeError, ValueError):  # no distance, or one that is not chosen yet
        return None


def _run(attack: Any, problem: Problem, budget: Budget) -> torch.Tensor:
    foolbox: Any = sys.modules["foolbox"]
    view = UnitView(problem).eval()
    start = view.show(view.window.to_unit(problem.x))
    labels = problem.y if problem.target is None else problem.target
    with torch.no_grad():
        predicted = view(start).argmax(dim=1)
    done = (predicted != problem.y) if problem.target is None else (predicted == problem.target)
    todo = torch.ones_like(done) if budget == "fixed" else ~done
    if not bool(todo.any()):
        return problem.x
    criteria = foolbox.criteria
    kind = criteria.Misclassification if problem.target is None else criteria.TargetedMisclassification
    radius = problem.delta / view.window.size if budget == "fixed" and problem.delta is not None else None
    model = foolbox.PyTorchModel(view, bounds=(0, 1), device=start.device)
    points = start.clone()
    raw, clipped, _ = attack(model, start[todo], kind(labels[todo]), epsilons=radius)
    points[todo] = (raw if radius is None else clipped).to(points)
    is_changed = (points != start).reshape(problem.x.shape)
    back = view.window.from_unit(points.reshape(problem.x.shape).to(problem.x.dtype))
    return torch.where(is_changed, back, problem.x)
