"""Attack objects of torchattacks: images in [0, 1], class indices, an own normalisation and an own model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import AttackNotUsableError
from ._objects import LibraryObject, own_norm, plain_settings, registered, same_weights
from .problem import Problem

_WIDE = 1e4
"""A clip range so many times wider than the data are large is not what [0, 1] stands for."""


class _Pixels(NamedTuple):
    """The map from images in [0, 1] to clip units: u · size + low."""

    low: torch.Tensor
    size: torch.Tensor


def read(attack: Any) -> LibraryObject:
    """The description of a torchattacks object; see `read_object`.

    Returns:
        Its description.
    """
    info = registered(attack, "torchattacks")
    is_targeted = "targeted" in attack.attack_mode
    must_target = "label" in attack.attack_mode
    mode = {} if attack.attack_mode == "default" else {"mode": attack.attack_mode}
    given = {k: v for k, v in vars(attack).items() if k not in {"attack_mode", "model_name", "targeted"}}
    return LibraryObject(
        settings=plain_settings({**given, **mode}),
        run=lambda problem: _run(attack, problem),
        unit=lambda problem: float(_pixels(attack, problem).size.max()),
        norms=own_norm(getattr(attack, "norm", None)),
        info=info,
        maximises_loss=info is not None and info.maximises_loss and not is_targeted,
        targeted=must_target,
        must_target=must_target,
    )


def _run(attack: Any, problem: Problem) -> torch.Tensor:
    if attack._model_training:
        raise AttackNotUsableError(
            f"{type(attack).__name__} runs its model in training mode, where it computes another function; call "
            "set_model_training_mode(False) on it"
        )
    labels = problem.y if problem.target is None else problem.target
    pixels = _pixels(attack, problem)
    dtype = next((p.dtype for p in attack.model.parameters() if p.is_floating_point()), torch.float32)
    unit = ((problem.x - pixels.low) / pixels.size).clamp(0, 1).to(dtype)
    with _prepared(attack, problem, pixels):
        points = attack(unit.clone(), labels).detach().to(unit)
    back = points.to(problem.x.dtype) * pixels.size + pixels.low
    return torch.where(points == unit, problem.x, back)


def _pixels(attack: Any, problem: Problem) -> _Pixels:
    """The meaning of the object's [0, 1]: the inverted normalisation if inputs are normalised, else the clip range.

    Returns:
        The map.

    Raises:
        AttackNotUsableError: If the meaning of 0 and 1 is unknown.
    """
    x, low, high = problem.x, problem.low, problem.high
    is_bounded = bool(torch.isfinite(low).all() and torch.isfinite(high).all())
    is_unit = bool((low == 0).all() and (high == 1).all())
    if is_unit or (not is_bounded and _in_unit(x)):
        return _Pixels(torch.zeros_like(low.sum()), torch.ones_like(low.sum()))
    normalised = _normalised_pixels(attack.normalization_used, x)
    if normalised is not None:
        return normalised
    largest = float(x.abs().max())
    if not is_bounded or (largest > 0 and float((high - low).max()) > _WIDE * largest):
        raise AttackNotUsableError(
            f"{type(attack).__name__} of torchattacks works on images in [0, 1], but the classifier's clip_values do "
            "not say which inputs 0 and 1 stand for; give it the range of the data, or use "
            f'load_attack("torchattacks:{type(attack).__name__}"), which follows delta'
        )
    return _Pixels(low, high - low)


def _normalised_pixels(used: Any, x: torch.Tensor) -> _Pixels | None:
    """The inverse of the object's normalisation; None unless it takes the inputs into [0, 1]."""
    if not used or x.ndim != 4 or used["mean"].shape[1] != x.shape[1]:
        return None
    mean, std = (used[k].to(x) for k in ("mean", "std"))
    return _Pixels(-mean / std, 1 / std) if _in_unit(x * std + mean, slack=1e-3) else None


def _in_unit(values: torch.Tensor, slack: float = 0.0) -> bool:
    return bool((values >= -slack).all() and (values <= 1 + slack).all())


@contextlib.contextmanager
def _prepared(attack: Any, problem: Problem, pixels: _Pixels) -> Iterator[None]:
    """Give the object images in [0, 1], and the attacked classifier if its model is the same."""
    settings: dict[str, Any] = {"_normalization_applied": False if attack.normalization_used else None}
    if same_weights(attack.model, problem):
        settings = {"model": _InPixels(problem, pixels), "_normalization_applied": None}
    family = list(_with_inner(attack))
    before = [{k: vars(a).get(k) for k in settings} for a in family]
    try:
        for member in family:
            vars(member).update(settings)
        yield
    finally:
        for member, values in zip(family, before, strict=True):
            vars(member).update(values)


def _with_inner(attack: Any) -> Iterator[Any]:
    """An attack and its inner attacks."""
    yield attack
    for inner in vars(attack).get("_attacks", {}).values():
        yield from _with_inner(inner)


class _InPixels(nn.Module):
    """Images in [0, 1] ↦ logits of the attacked classifier, which controls its own mode."""

    def __init__(self, problem: Problem, pixels: _Pixels) -> None:
        super().__init__()
        self._inside = (problem, pixels)  # in a tuple: not registered as a submodule

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, k) in the dtype of the images."""
        problem, pixels = self._inside
        x = u.to(problem.x.dtype) * pixels.size + pixels.low
        logits: torch.Tensor = problem.module(x.to(problem.net.dtype))
        return logits.to(u.dtype)
