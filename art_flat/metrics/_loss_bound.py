"""Bounds on the loss increase over a ball of inputs, in feature space or over the ball itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .. import functional
from .._utils.arrays import like, to_numpy
from .._utils.numbers import check_number
from .._utils.validation import check_inputs, check_labels, check_norm
from ..adapters import Adapter, adapt
from ..adapters._lipschitz import lipschitz_constants
from ..certification import CERTIFICATE_KINDS
from ..errors import InputError, UnknownNameError
from ..functional import SOUND_BOUND_KINDS, BoundKind, LipschitzBound, LipschitzKind
from ._bisection import largest_radii

if TYPE_CHECKING:
    from ..typing import Array, Norm


class LossBound:
    """How the loss is bounded over a ball: the options that the metrics share, checked."""

    def __init__(self, norm: Any, lipschitz: Any, kind: Any, seconds: float | None) -> None:
        self.norm: Norm = check_norm(norm)
        if kind not in (*SOUND_BOUND_KINDS, *CERTIFICATE_KINDS):
            raise UnknownNameError("sound bound", kind, (*SOUND_BOUND_KINDS, *CERTIFICATE_KINDS))
        if seconds is not None and kind != "branch":
            raise InputError(f'`seconds` is for kind="branch"; the kind is {kind!r}')
        self.lipschitz, self.kind, self.seconds = lipschitz, kind, seconds

    def bound(
        self, classifier: Any, x: Array, y: Array, delta: float, epsilon: float
    ) -> tuple[np.ndarray, LipschitzKind | None]:
        """Bounds on the loss increase, nats, float64 (n,), as low as ε needs; and the kind of the constant in them."""
        if self.kind not in CERTIFICATE_KINDS:
            return self._in_features(classifier, x, y, delta, self.kind)
        enough = epsilon if self.kind == "branch" else None
        found = adapt(classifier).loss_increase_in_ball(
            x, y, delta=delta, norm=self.norm, kind=self.kind, seconds=self.seconds, enough=enough
        )
        if self.lipschitz is None:
            return to_numpy(found), None
        other, constant = self._in_features(classifier, x, y, delta, "best")
        return np.fmin(to_numpy(found), other), constant

    def radius(self, classifier: Any, x: Array, y: Array, epsilon: float) -> Array:
        """The largest radius at which each sample is certified; over balls of inputs, of those evaluated."""
        if self.kind in CERTIFICATE_KINDS:
            return self._radius_by_bisection(adapt(classifier), x, y, epsilon)
        constant, points = _prepare(classifier, x, y, self.norm, self.lipschitz)
        radius = functional.feature_radius(*points, epsilon=epsilon, kind=self.kind)
        return like(functional.radius_in_input(radius, constant), x)

    def _radius_by_bisection(self, net: Adapter, x: Array, y: Array, epsilon: float) -> Array:
        inputs = check_inputs(x, input_shape=net.input_shape, feature_names=net.feature_names)
        labels = check_labels(y, len(inputs), net.nb_classes)

        def is_certified(which: np.ndarray, delta: float) -> np.ndarray:
            rows = torch.from_numpy(which)
            bound, _ = self.bound(
                net, inputs[rows.to(inputs.device)], labels[rows.to(labels.device)], delta, epsilon
            )
            return bound <= epsilon

        radii = largest_radii(len(inputs), is_certified, _diameter(net, self.norm))
        return like(torch.from_numpy(radii), x)

    def _in_features(
        self, classifier: Any, x: Array, y: Array, delta: float, kind: BoundKind
    ) -> tuple[np.ndarray, LipschitzKind]:
        constant, points = _prepare(classifier, x, y, self.norm, self.lipschitz)
        radius = float(np.nextafter(constant.value * delta, np.inf))
        return functional.loss_increase_bound(*points, radius=radius, kind=kind).numpy(), constant.kind


def _diameter(net: Adapter, norm: Norm) -> float:
    """Largest distance between two inputs in the clip range, clip units; infinite if there is no range."""
    if net.clip_values is None:
        return float("inf")
    low, high = (np.broadcast_to(np.asarray(v, float), net.input_shape) for v in net.clip_values)
    order = {"Linf": np.inf, "L2": 2, "L1": 1}
    return float(np.linalg.norm((high - low).ravel(), order.get(norm, np.inf)))


def _prepare(
    classifier: Any, x: Array, y: Array, norm: Norm, lipschitz: Any
) -> tuple[LipschitzBound, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The Lipschitz constant; and logits, features, head weight and labels in float64 on the CPU."""
    if isinstance(lipschitz, LipschitzBound):
        if not lipschitz.sound or lipschitz.norm != norm:
            raise InputError(
                f"`lipschitz` is {lipschitz.kind} and for {lipschitz.norm}; a certificate in {norm} needs a constant "
                f'for {norm} that is not an estimate: net.lipschitz("{norm}")'
            )
    elif lipschitz is not None:
        lipschitz = check_number(lipschitz, "lipschitz", "feature units per clip unit", above=0.0)
    net = adapt(classifier)
    inputs = check_inputs(
        x, input_shape=net.input_shape, clip_values=net.clip_values, feature_names=net.feature_names
    )
    labels = check_labels(y, len(inputs), net.nb_classes).cpu()
    if isinstance(lipschitz, LipschitzBound):
        constant = lipschitz
    else:
        constants, missing = lipschitz_constants(net, {norm: []}, lipschitz)
        if missing:
            raise InputError(f"no Lipschitz constant in {norm}: {missing[norm]}")
        constant = constants[norm]
    logits, features = (t.cpu().double() for t in net.outputs_unchecked(inputs))
    return constant, (logits, features, net.head.weight.detach().cpu().double(), labels)
