"""Checks and repairs of single attacks of adv-lib."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from art_flat.attacks import Problem
from art_flat.attacks.checks import CheckContext
from art_flat.errors import AttackNotUsableError, InputError

from ._library import PENALTIES, augmented_lagrangian, auto_pgd, fast_minimum_norm, with_globals

_REACH = 0.9
"""Share of the farthest distance that ALMA's first step may ask for."""

# Checks: each raises if the attack cannot run


def _require(is_valid: bool, case: CheckContext, key: str, what: str) -> None:
    if not is_valid:
        raise InputError(f"{case.name}: `{key}` must be {what}, got {case.params[key]!r}")


def two_steps(case: CheckContext) -> None:
    """Require two steps: the schedule of the dual variable divides by one less."""
    _require(case.params["num_steps"] >= 2, case, "num_steps", "at least 2")


def known_penalty(case: CheckContext) -> None:
    """Require the name of a penalty function of the library."""
    penalty = case.params["penalty"]
    _require(penalty in PENALTIES, case, "penalty", f"one of {', '.join(PENALTIES)}")


def three_classes(case: CheckContext) -> None:
    """Require three classes: the logit ratio divides by the difference to the third largest logit."""
    case.require_classes(3, "the ratio of logits that it reduces")


def known_loss(case: CheckContext) -> None:
    """Require a loss that the library knows."""
    _require(case.params["loss_function"] in {"ce", "dlr"}, case, "loss_function", "'ce' or 'dlr'")


def classes_for_dlr(case: CheckContext) -> None:
    """Require three classes for the DLR loss."""
    if case.params["loss_function"] == "dlr":
        case.require_classes(3, 'loss_function="dlr"')


def classes_for_targeted_dlr(case: CheckContext) -> None:
    """Require four classes for the targeted DLR loss."""
    if case.params["loss_function"] == "dlr":
        case.require_classes(4, 'loss_function="dlr" with targets')


def large_radii_in_l1(case: CheckContext) -> None:
    """Require what the library asserts or ignores for `use_large_reps`: L1, three steps, no `best_loss`."""
    if not case.params["use_large_reps"]:
        return
    if case.norm != "L1":
        case.refuse(f"use_large_reps=True is for the norm L1, not {case.norm}")
    _require(
        case.params["n_iter"] >= 3, case, "n_iter", "at least 3 with use_large_reps, which has three phases"
    )
    if case.params.get("best_loss"):
        raise InputError(f"{case.name}: the library ignores use_large_reps with best_loss; give one of them")


def known_operator(case: CheckContext) -> None:
    """Require a proximal operator of the library."""
    known = (None, 0, 1, 2, 23, math.inf)
    operator = case.params["proximal_operator"]
    _require(operator in known, case, "proximal_operator", f"one of {', '.join(map(str, known))}")


# Arguments


def alma_arguments(problem: Problem, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the penalty, and the tolerance with the sign that makes a target class reached, not nearly reached.

    Raises:
        AttackNotUsableError: If there are targets and fewer than four classes.
    """
    tolerance = params["logit_tolerance"]
    if problem.target is not None and problem.net.nb_classes < 4:
        raise AttackNotUsableError(
            "advlib:ALMA cannot be used with `target`: the ratio of logits then needs at least 4 classes, the "
            f"classifier has {problem.net.nb_classes}"
        )
    sign = 1 if problem.target is None else -1
    return {"penalty": PENALTIES[params["penalty"]], "logit_tolerance": sign * tolerance}


def targets_that_exist(problem: Problem, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the number of classes to try, at most all others."""
    others = problem.net.nb_classes - 1
    return {"num_targets": min(params["num_targets"] or others, others)}


def targeted_dlr(problem: Problem, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return nothing; require four classes if there are targets and the loss is DLR.

    Raises:
        AttackNotUsableError: If there are fewer.
    """
    if problem.target is not None and params["loss_function"] == "dlr" and problem.net.nb_classes < 4:
        raise AttackNotUsableError(
            'advlib:APGD cannot be used with `target`: loss_function="dlr" then needs at least 4 classes, the '
            f'classifier has {problem.net.nb_classes}; use loss_function="ce"'
        )
    return {}


# Repairs


def keeps_one_value(function: Callable[..., Any], params: Mapping[str, Any]) -> Callable[..., Any]:
    """Return FMN with an L0 projection that keeps a value where the library's takes the largest of none."""

    def project_l0(δ: torch.Tensor, ε: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = fast_minimum_norm.l0_projection_(δ, ε.clamp(min=1))
        return kept

    return with_globals(function, l0_projection_=project_l0)


def ends_in_the_range(function: Callable[..., Any], params: Mapping[str, Any]) -> Callable[..., Any]:
    """Return ALMA with a search for the first step size that ends where the range ends before the distance."""

    def find(inputs: torch.Tensor, grad: torch.Tensor, distance_function: Any, target_distance: float) -> Any:
        corner = torch.where(grad > 0, 0.0, torch.where(grad < 0, 1.0, inputs))
        reach = _REACH * distance_function(corner).detach()
        target = torch.where(reach > 0, reach.clamp(max=target_distance), -1.0)
        size = augmented_lagrangian.init_lr_finder(inputs, grad, distance_function, target)
        return torch.where(reach > 0, size, params["lr_init"])

    return with_globals(function, init_lr_finder=find)


def counts_its_steps(function: Callable[..., Any], params: Mapping[str, Any]) -> Callable[..., Any]:
    """Return APGD with the given number of steps also with `best_loss`, where the library always takes 100."""
    return with_globals(function, _apgd=functools.partial(auto_pgd._apgd, n_iter=params["n_iter"]))
