"""Attack objects of ART: arrays in the range of their estimator, one-hot labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from .._utils.arrays import to_numpy
from .._utils.formatting import counted
from ..errors import AttackNotUsableError, InputError
from ._objects import LibraryObject, own_norm, plain_settings, registered, same_weights
from .problem import Problem

_TARGET_READERS = {"SaliencyMapMethod", "ShadowAttack", "TargetedUniversalPerturbation"}
"""Classes that use y as a target even without `targeted`."""

_NOT_FROM_LABELS = (
    *("AdversarialPatch", "AdversarialPatchNumpy", "AdversarialPatchPyTorch", "DPatch", "RobustDPatch"),
    *("FeatureAdversariesNumpy", "FeatureAdversariesPyTorch", "LaserAttack", "FrameSaliencyAttack"),
)
"""Classes whose `generate` returns patches, or does not take one-hot labels."""

_PROBED = 8
"""Samples on which two estimators are compared."""


class _Range(NamedTuple):
    """The map from clip units to the object's units: x · scale + shift."""

    scale: Any = 1.0
    shift: Any = 0.0


def read(attack: Any) -> LibraryObject:
    """The description of an ART object; see `read_object`.

    Returns:
        Its description.

    Raises:
        InputError: If its `generate` does not map samples and labels to points.
    """
    names = [c.__name__ for c in type(attack).__mro__]
    odd = next((name for name in names if name in _NOT_FROM_LABELS), None)
    if odd is not None:
        raise InputError(
            f"an object of ART's {odd} is not accepted: its `generate` does not turn samples and one-hot labels into "
            f'points; pass the name "art:{odd}" instead'
        )
    reads_target = bool(_TARGET_READERS.intersection(names))
    must_target = bool(attack.targeted) and not reads_target
    info = registered(attack, "art")
    loss = getattr(attack.estimator, "_loss", None)
    ascends = info is not None and info.maximises_loss and not attack.targeted
    return LibraryObject(
        settings=plain_settings({k: getattr(attack, k, None) for k in attack.attack_params}),
        run=lambda problem: _run(attack, problem, reads_target),
        unit=lambda problem: 1 / float(np.max(_range(attack.estimator, problem).scale)),
        norms=own_norm(getattr(attack, "norm", None)),
        info=info,
        maximises_loss=ascends and (loss is None or isinstance(loss, torch.nn.CrossEntropyLoss)),
        targeted=must_target or reads_target,
        must_target=must_target,
    )


def _run(attack: Any, problem: Problem, reads_target: bool) -> torch.Tensor:
    _require_same_task(attack, problem)
    labels = problem.y if problem.target is None else problem.target
    if reads_target and problem.target is None:
        labels = _likeliest_wrong(problem)
    one_hot = np.eye(problem.net.nb_classes, dtype=np.float32)[to_numpy(labels)]
    scale, shift = _range(attack.estimator, problem)
    x = to_numpy(problem.x)
    library_values = (x * scale + shift).astype(np.float32)
    points = attack.generate(library_values.copy(), y=one_hot)
    if np.shape(points) != library_values.shape:
        return points  # type: ignore[no-any-return]  # refused by the caller, with the shapes
    back = (np.asarray(points, dtype=np.float64) - shift) / scale
    return torch.from_numpy(np.where(points == library_values, x, back)).to(problem.x)


def _require_same_task(attack: Any, problem: Problem) -> None:
    """Reject an object whose estimator has other inputs or classes."""
    estimator, net = attack.estimator, problem.net
    shape, classes = getattr(estimator, "input_shape", None), getattr(estimator, "nb_classes", None)
    if shape is not None and tuple(shape) != tuple(net.input_shape):
        raise AttackNotUsableError(
            f"{type(attack).__name__} was made for inputs of shape {tuple(shape)}, the classifier takes "
            f"{tuple(net.input_shape)}; make it with an estimator of the same inputs"
        )
    if classes is not None and classes > 0 and classes != net.nb_classes:
        raise AttackNotUsableError(
            f"{type(attack).__name__} was made for {counted(classes, 'class')}, the classifier has {net.nb_classes}"
        )


def _likeliest_wrong(problem: Problem) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = problem.module(problem.x)
    return logits.scatter(1, problem.y[:, None], -torch.inf).argmax(dim=1)


def _range(estimator: Any, problem: Problem) -> _Range:
    """The map from clip units to the object's range; if the models are the same, verified by their outputs."""
    attacked = getattr(problem.net, "estimator", None)
    ranges = [_Range(), *_between(estimator.clip_values, problem.net.clip_values)]
    if estimator is attacked:
        return ranges[0]
    if not same_weights(getattr(estimator, "model", None), problem) or not hasattr(attacked, "predict"):
        return ranges[-1]
    fitting = [r for r in ranges if _agree(estimator, attacked, problem, r)]
    if fitting:
        return fitting[0]
    if getattr(estimator, "preprocessing_defences", None) or getattr(
        attacked, "preprocessing_defences", None
    ):
        return ranges[-1]
    raise AttackNotUsableError(
        "the object was made with an estimator of the same weights that computes another function (its preprocessing "
        "or range differs), so its points would be those of another model; make it with the classifier attacked"
    )


def _between(library_values: Any, attacked_values: Any) -> list[_Range]:
    """The map between the two clip ranges, if both are finite and they differ."""
    if library_values is None or attacked_values is None:
        return []
    (low, high), (our_low, our_high) = (
        np.asarray(pair, dtype=np.float64) for pair in (library_values, attacked_values)
    )
    if not np.isfinite([*map(np.sum, (low, high, our_low, our_high))]).all():
        return []
    scale = (high - low) / (our_high - our_low)
    shift = low - our_low * scale
    return [] if np.all(scale == 1) and np.all(shift == 0) else [_Range(scale, shift)]


def _agree(estimator: Any, attacked: Any, problem: Problem, range_: _Range) -> bool:
    x = to_numpy(problem.x[:_PROBED])
    library_values = estimator.predict((x * range_.scale + range_.shift).astype(np.float32))
    attacked_values = attacked.predict(x.astype(np.float32))
    return np.shape(library_values) == np.shape(attacked_values) and bool(
        np.allclose(library_values, attacked_values, rtol=1e-3, atol=1e-3)
    )
