"""Certified metrics: which samples are (δ,ε)-robust against any attack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import functional
from .._utils.arrays import like, to_numpy
from .._utils.validation import (
    check_delta,
    check_epsilon,
    check_inputs,
    check_labels,
    check_norm,
    check_number,
    reject_eps_argument,
)
from ..adapters import Adapter, adapt
from ..adapters._lipschitz import lipschitz_constants
from ..certification import CERTIFICATE_KINDS, CertificateKind
from ..errors import InputError, UnknownNameError
from ..functional import SOUND_BOUND_KINDS, BoundKind, LipschitzBound, LipschitzKind
from ..scores._points import require_not_nan
from ..scores.weighted import weighted_share
from ._bisection import largest_radii
from ._reduction import Reduction, check_reduction, reduced
from .robustness import loss_change_robustness

if TYPE_CHECKING:
    from ..typing import Array, Norm


@reject_eps_argument
def certified_loss_change_robustness(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    delta: float,
    epsilon: float,
    norm: Norm = "Linf",
    lipschitz: float | LipschitzBound | None = None,
    kind: BoundKind | CertificateKind = "best",
    seconds: float | None = None,
    reduction: Reduction = "mean",
) -> float | Array:
    """Share of samples whose loss provably rises by at most ε in the whole ball: a lower bound, no attack is run.

    In a ball of radius δ the features move by at most L δ, and the loss by at most
    `functional.loss_increase_bound` at that radius. True (δ,ε)-robustness lies between this share and
    `loss_change_robustness`, up to the rounding of the network's own arithmetic.

    Args:
        classifier: An ART classifier or an adapted one.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        delta: Radius of the ball in clip units.
        epsilon: Tolerated loss change ε ≥ 0, nats.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`; there is no constant for L0.
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), not verified, or
            what `net.lipschitz(norm)` gave; derived from the layers if None and `kind` needs one.
        kind: A sound bound in feature space, see `art_flat.functional.loss_increase_bound`; or a bound over the ball
            itself, `"interval"`, `"crown_interval"`, `"crown"` or `"branch"`, see `Adapter.bounds_in_ball`, which needs
            no constant and includes the feature-space bound if one is given.
        seconds: For `kind="branch"`, and needed there: time for each sample.
        reduction: `"mean"` or `"none"`.

    Returns:
        The certified share, in [0, 1]; or 1 (certified), 0 (not) or NaN (NaN logits) each, float64 (n,).

    Raises:
        InputError: If an argument cannot be used, or there is no Lipschitz constant.
        UnknownNameError: If there is no such norm or sound bound.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(model[1].weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> x = np.array([[0.6, 0.4], [0.9, 0.1]])
    >>> certified_loss_change_robustness(classifier, x, [0, 0], delta=0.1, epsilon=0.08)
    0.5
    """
    check_reduction(reduction, ("mean", "none"))
    delta, epsilon = check_delta(delta), check_epsilon(epsilon)
    ball = _Ball(norm, lipschitz, kind, seconds)
    return reduced(_certified(ball.bound(classifier, x, y, delta)[0], epsilon), reduction, x)


class RobustnessBracket(NamedTuple):
    """Both ends of the (δ,ε)-robust share, over the same samples."""

    certified: float
    """The share that is certified, in [0, 1]: the truth is not below it."""
    empirical: float
    """The share that no adversarial point broke, in [0, 1]: the truth is not above it."""
    n_evaluated: int
    """How many samples both are shares of."""
    bound_kind: BoundKind | CertificateKind
    """The bound on the loss increase that certifies."""
    lipschitz_kind: LipschitzKind | None
    """How the Lipschitz constant was found, a given one is not verified; None if there is none in the bound."""


@reject_eps_argument
def loss_change_robustness_bracket(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    delta: float,
    epsilon: float,
    x_adv: Any = None,
    attack: Any = None,
    norm: Norm = "Linf",
    seed: int = 0,
    lipschitz: float | LipschitzBound | None = None,
    kind: BoundKind | CertificateKind = "best",
    seconds: float | None = None,
) -> RobustnessBracket:
    """The (δ,ε)-robust share from below and from above: certified ≤ truth ≤ empirical.

    Args:
        classifier: An ART classifier or an adapted one.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        delta: Radius of the ball in clip units.
        epsilon: Tolerated loss change ε ≥ 0, nats.
        x_adv: Adversarial points, (n, ...), or a list of such arrays.
        attack: One or several attacks; see `art_flat.metrics`.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`; there is no constant for L0.
        seed: Seed of the attacks.
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), not verified, or
            what `net.lipschitz(norm)` gave; derived from the layers if None and `kind` needs one.
        kind: A sound bound in feature space, see `art_flat.functional.loss_increase_bound`; or a bound over the ball
            itself, `"interval"`, `"crown_interval"`, `"crown"` or `"branch"`, see `Adapter.bounds_in_ball`, which needs
            no constant and includes the feature-space bound if one is given.
        seconds: For `kind="branch"`, and needed there: time for each sample.

    Returns:
        Both shares over the samples for which both are known, and what certifies.

    Raises:
        InputError: If an argument cannot be used, there is no Lipschitz constant, or no sample is left.
        UnknownNameError: If there is no such norm or sound bound.
        BudgetError: If points given lie outside the ball.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(model[1].weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> x = np.array([[0.6, 0.4], [0.9, 0.1]])
    >>> loss_change_robustness_bracket(classifier, x, [0, 0], delta=0.1, epsilon=0.08, attack="art_flat:PGD")[:3]
    (0.5, 0.5, 2)
    """
    delta, epsilon = check_delta(delta), check_epsilon(epsilon)
    bound, lipschitz_kind = _Ball(norm, lipschitz, kind, seconds).bound(classifier, x, y, delta)
    below = _certified(bound, epsilon)
    above = np.asarray(
        to_numpy(
            loss_change_robustness(
                classifier, x, y, epsilon=epsilon, x_adv=x_adv, attack=attack, delta=delta, norm=norm, seed=seed,
                reduction="none",
            )
        )
    )  # fmt: skip
    known = ~np.isnan(below) & ~np.isnan(above)
    certified, empirical = (
        require_not_nan(weighted_share(end == 1, known), "every loss is NaN") for end in (below, above)
    )
    return RobustnessBracket(certified, empirical, int(known.sum()), kind, lipschitz_kind)


def input_radius(
    classifier: Any,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    norm: Norm = "Linf",
    lipschitz: float | LipschitzBound | None = None,
    kind: BoundKind | CertificateKind = "best",
    seconds: float | None = None,
) -> Array:
    """The largest certified δ of each sample: in its ball the loss provably rises by at most ε.

    The feature radius of `functional.feature_radius` over the Lipschitz constant of the features, rounded down.

    Args:
        classifier: An ART classifier or an adapted one.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        epsilon: Tolerated loss change ε ≥ 0, nats.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`; there is no constant for L0.
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), not verified, or
            what `net.lipschitz(norm)` gave; derived from the layers if None and `kind` needs one.
        kind: A sound bound in feature space, see `art_flat.functional.feature_radius`; or a bound over balls of
            inputs, see `certified_loss_change_robustness`: then a bisection evaluates a dozen or two of radii.
        seconds: For `kind="branch"`, and needed there: time for each sample and radius.

    Returns:
        δ, float64 (n,), clip units, ≥ 0; in feature space +inf where no movement of the features raises the loss by
        more than ε, over balls of inputs always a radius whose bound was evaluated, at most the clip range's diameter.

    Raises:
        InputError: If an argument cannot be used, or there is no Lipschitz constant.
        UnknownNameError: If there is no such norm or sound bound.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(model[1].weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> input_radius(classifier, np.array([[0.6, 0.4], [0.9, 0.1]]), [0, 0], 0.08).round(4)
    array([0.0849, 0.119 ])
    """
    epsilon = check_epsilon(epsilon)
    ball = _Ball(norm, lipschitz, kind, seconds)
    if kind in CERTIFICATE_KINDS:
        return ball.radius(classifier, x, y, epsilon)
    assert kind in SOUND_BOUND_KINDS
    constant, points = _prepare(classifier, x, y, norm, lipschitz)
    radius = functional.feature_radius(*points, epsilon=epsilon, kind=kind)
    return like(functional.radius_in_input(radius, constant), x)


@reject_eps_argument
def certified_accuracy(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    delta: float,
    norm: Norm = "Linf",
    kind: CertificateKind = "crown",
    seconds: float | None = None,
    reduction: Reduction = "mean",
) -> float | Array:
    """Share of samples whose true label is provably predicted in the whole ball: a lower bound, no attack is run.

    Args:
        classifier: An ART classifier or an adapted one.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        delta: Radius of the ball in clip units.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`.
        kind: How bounds over the ball are found; see `Adapter.bounds_in_ball`.
        seconds: For `kind="branch"`, and needed there: time for each sample.
        reduction: `"mean"` or `"none"`.

    Returns:
        The share, in [0, 1]; or 1 (kept) or 0 (not certain) each, float64 (n,).

    Raises:
        InputError: If an argument cannot be used.
        UnknownNameError: If there is no such norm or kind.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(model[1].weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> certified_accuracy(classifier, np.array([[0.6, 0.4], [0.9, 0.1]]), [0, 0], delta=0.2)
    0.5
    """
    check_reduction(reduction, ("mean", "none"))
    found = adapt(classifier).bounds_in_ball(x, y, delta=delta, norm=norm, kind=kind, seconds=seconds)
    return reduced(to_numpy(found.label_kept).astype(float), reduction, x)


class _Ball:
    """How the loss is bounded over a ball: the options that the metrics share, checked."""

    def __init__(self, norm: Any, lipschitz: Any, kind: Any, seconds: float | None) -> None:
        self.norm: Norm = check_norm(norm)
        if kind not in (*SOUND_BOUND_KINDS, *CERTIFICATE_KINDS):
            raise UnknownNameError("sound bound", kind, (*SOUND_BOUND_KINDS, *CERTIFICATE_KINDS))
        if seconds is not None and kind != "branch":
            raise InputError(f'`seconds` is for kind="branch"; the kind is {kind!r}')
        self.lipschitz, self.kind, self.seconds = lipschitz, kind, seconds

    def bound(
        self, classifier: Any, x: Array, y: Array, delta: float
    ) -> tuple[np.ndarray, LipschitzKind | None]:
        """Bounds on the loss increase, nats, float64 (n,); and the kind of the constant in them."""
        if self.kind not in CERTIFICATE_KINDS:
            return self._in_features(classifier, x, y, delta, self.kind)
        found = adapt(classifier).loss_increase_in_ball(
            x, y, delta=delta, norm=self.norm, kind=self.kind, seconds=self.seconds
        )
        if self.lipschitz is None:
            return to_numpy(found), None
        other, constant = self._in_features(classifier, x, y, delta, "best")
        return np.fmin(to_numpy(found), other), constant

    def radius(self, classifier: Any, x: Array, y: Array, epsilon: float) -> Array:
        """The largest radius evaluated at which each sample is certified."""
        net = adapt(classifier)
        inputs = check_inputs(x, input_shape=net.input_shape, feature_names=net.feature_names)
        labels = check_labels(y, len(inputs), net.nb_classes)

        def is_certified(which: np.ndarray, delta: float) -> np.ndarray:
            rows = torch.from_numpy(which)
            bound, _ = self.bound(net, inputs[rows.to(inputs.device)], labels[rows.to(labels.device)], delta)
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


def _certified(bound: np.ndarray, epsilon: float) -> np.ndarray:
    """1 (certified), 0 (not) or NaN (NaN logits) for each sample."""
    return np.where(np.isnan(bound), np.nan, bound <= epsilon)


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
    logits, features = (t.cpu().double() for t in net.outputs(inputs))
    return constant, (logits, features, net.head.weight.detach().cpu().double(), labels)
