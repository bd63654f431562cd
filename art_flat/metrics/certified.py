"""Certified metrics: robustness against any attack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._utils.arrays import to_numpy
from .._utils.numbers import check_delta, check_epsilon
from .._utils.validation import check_keywords
from ..adapters import adapt
from ..certification import CertificateKind
from ..functional import BoundKind, LipschitzBound, LipschitzKind
from ..scores._points import require_not_nan
from ..scores.weighted import weighted_share
from ._loss_bound import LossBound
from ._reduction import Reduction, check_reduction, reduced
from .robustness import loss_change_robustness

if TYPE_CHECKING:
    from ..typing import Array, Norm


@check_keywords
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
    `functional.loss_increase_bound` at that radius. True (δ,ε)-robustness is between this share and
    `loss_change_robustness`, up to the rounding of the network's own arithmetic.

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        delta: Radius of the ball in clip units.
        epsilon: Tolerated loss change ε ≥ 0, nats.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`; there is no constant for L0.
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), not verified, or
            the result of `net.lipschitz(norm)`; derived from the layers if None and `kind` needs one.
        kind: A sound bound in feature space, see `art_flat.functional.loss_increase_bound`; or a bound over the ball
            itself, `"interval"`, `"crown_interval"`, `"crown"` or `"branch"`, see `Adapter.bounds_in_ball`, which needs
            no constant and includes the feature-space bound if one is given.
        seconds: Limit of processor time per sample, required with `kind="branch"`.
        reduction: `"mean"` or `"none"`.

    Returns:
        The certified share, in [0, 1]; or 1 (certified), 0 (not) or NaN (NaN logits) each, float64 (n,).

    Raises:
        InputError: If an argument is invalid, or no Lipschitz constant can be derived.
        UnknownNameError: If the norm is unknown or the bound is not a sound one.

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
    bound, _ = LossBound(norm, lipschitz, kind, seconds).bound(classifier, x, y, delta, epsilon)
    return reduced(_certified(bound, epsilon), reduction, x)


class RobustnessBracket(NamedTuple):
    """Both ends of the (δ,ε)-robust share, over the same samples."""

    certified: float
    """The certified share, in [0, 1]: a lower bound of the true share."""
    empirical: float
    """The share not broken by any adversarial point, in [0, 1]: an upper bound of the true share."""
    n_evaluated: int
    """Number of samples of both shares."""
    bound_kind: BoundKind | CertificateKind
    """The kind of bound on the loss increase."""
    lipschitz_kind: LipschitzKind | None
    """The kind of the Lipschitz constant, a given one is not verified; None if the bound uses none."""


@check_keywords
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
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        delta: Radius of the ball in clip units.
        epsilon: Tolerated loss change ε ≥ 0, nats.
        x_adv: Adversarial points, (n, ...), or a list of such arrays.
        attack: One or several attacks; see `art_flat.metrics`.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`; there is no constant for L0.
        seed: Seed of the attacks.
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), not verified, or
            the result of `net.lipschitz(norm)`; derived from the layers if None and `kind` needs one.
        kind: A sound bound in feature space, see `art_flat.functional.loss_increase_bound`; or a bound over the ball
            itself, `"interval"`, `"crown_interval"`, `"crown"` or `"branch"`, see `Adapter.bounds_in_ball`, which needs
            no constant and includes the feature-space bound if one is given.
        seconds: Limit of processor time per sample, required with `kind="branch"`.

    Returns:
        Both shares over the samples for which both are known, and the kinds of bounds.

    Raises:
        InputError: If an argument is invalid, there is no Lipschitz constant, or no sample is left.
        UnknownNameError: If the norm is unknown or the bound is not a sound one.
        BudgetError: If given points lie outside the ball.

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
    bound, lipschitz_kind = LossBound(norm, lipschitz, kind, seconds).bound(classifier, x, y, delta, epsilon)
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
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        epsilon: Tolerated loss change ε ≥ 0, nats.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`; there is no constant for L0.
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), not verified, or
            the result of `net.lipschitz(norm)`; derived from the layers if None and `kind` needs one.
        kind: A sound bound in feature space, see `art_flat.functional.feature_radius`; or a bound over balls of
            inputs, see `certified_loss_change_robustness`: then a bisection evaluates a dozen or two of radii.
        seconds: Limit of processor time per sample and radius, required with `kind="branch"`.

    Returns:
        δ, float64 (n,), clip units, ≥ 0; in feature space +inf where no movement of the features raises the loss by
        more than ε, over balls of inputs always a radius whose bound was evaluated, at most the clip range's diameter.

    Raises:
        InputError: If an argument is invalid, or no Lipschitz constant can be derived.
        UnknownNameError: If the norm is unknown or the bound is not a sound one.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = torch.nn.init.eye_(model[1].weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> input_radius(classifier, np.array([[0.6, 0.4], [0.9, 0.1]]), [0, 0], 0.08).round(4)
    array([0.0849, 0.119 ])
    """
    return LossBound(norm, lipschitz, kind, seconds).radius(classifier, x, y, check_epsilon(epsilon))


@check_keywords
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
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        delta: Radius of the ball in clip units.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`.
        kind: Kind of the bounds over the ball; see `Adapter.bounds_in_ball`.
        seconds: Limit of processor time per sample, required with `kind="branch"`.
        reduction: `"mean"` or `"none"`.

    Returns:
        The share, in [0, 1]; or 1 (certified) or 0 (not) each, float64 (n,).

    Raises:
        InputError: If an argument is invalid.
        UnknownNameError: If the norm or the kind is unknown.

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


def _certified(bound: np.ndarray, epsilon: float) -> np.ndarray:
    """1 (certified), 0 (not) or NaN (NaN logits) for each sample."""
    return np.where(np.isnan(bound), np.nan, bound <= epsilon)
