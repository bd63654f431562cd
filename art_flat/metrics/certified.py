"""The certified side: which samples are (δ,ε)-robust whatever the attack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
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
from ..adapters import adapt
from ..adapters._lipschitz import lipschitz_constants
from ..errors import InputError, UnknownNameError
from ..functional import SOUND_BOUND_KINDS, BoundKind, LipschitzBound, LipschitzKind
from ..scores._points import require_not_nan
from ..scores._reduce import weighted_share
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
    kind: BoundKind = "best",
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
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), taken at its word, or
            what `net.lipschitz(norm)` gave; derived from the layers if None.
        kind: Which sound bound; see `art_flat.functional.loss_increase_bound`.
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
    constant, points = _prepare(classifier, x, y, norm, lipschitz, kind)
    return reduced(_certified(constant, points, delta, epsilon, kind), reduction, x)


class RobustnessBracket(NamedTuple):
    """Both ends of the (δ,ε)-robust share, over the same samples."""

    certified: float
    """The share that is certified, in [0, 1]: the truth is not below it."""
    empirical: float
    """The share that no adversarial point broke, in [0, 1]: the truth is not above it."""
    n_evaluated: int
    """How many samples both are shares of."""
    bound_kind: BoundKind
    """The bound on the loss increase that certifies."""
    lipschitz_kind: LipschitzKind
    """How the Lipschitz constant was found; a given one is taken at its word."""


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
    kind: BoundKind = "best",
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
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), taken at its word, or
            what `net.lipschitz(norm)` gave; derived from the layers if None.
        kind: Which sound bound; see `art_flat.functional.loss_increase_bound`.

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
    constant, points = _prepare(classifier, x, y, norm, lipschitz, kind)
    below = _certified(constant, points, delta, epsilon, kind)
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
    return RobustnessBracket(certified, empirical, int(known.sum()), kind, constant.kind)


def input_radius(
    classifier: Any,
    x: Array,
    y: Array,
    epsilon: float,
    *,
    norm: Norm = "Linf",
    lipschitz: float | LipschitzBound | None = None,
    kind: BoundKind = "best",
) -> Array:
    """The largest certified δ of each sample: in its ball the loss provably rises by at most ε.

    The feature radius of `functional.feature_radius` over the Lipschitz constant of the features, rounded down.

    Args:
        classifier: An ART classifier or an adapted one.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        epsilon: Tolerated loss change ε ≥ 0, nats.
        norm: Norm of the ball: `"Linf"`, `"L2"` or `"L1"`; there is no constant for L0.
        lipschitz: Constant L of the features, feature units (L2) per clip unit (L2), taken at its word, or
            what `net.lipschitz(norm)` gave; derived from the layers if None.
        kind: Which sound bound; see `art_flat.functional.feature_radius`.

    Returns:
        δ, float64 (n,), clip units, ≥ 0; +inf where no movement of the features raises the loss by more than ε.

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
    constant, points = _prepare(classifier, x, y, norm, lipschitz, kind)
    radius = functional.feature_radius(*points, epsilon=epsilon, kind=kind)
    return like(functional.radius_in_input(radius, constant), x)


def _certified(
    constant: LipschitzBound,
    points: tuple[Tensor, Tensor, Tensor, Tensor],
    delta: float,
    epsilon: float,
    kind: BoundKind,
) -> np.ndarray:
    """1 (certified), 0 (not) or NaN (NaN logits) for each sample."""
    radius = float(np.nextafter(constant.value * delta, np.inf))
    bound = functional.loss_increase_bound(*points, radius=radius, kind=kind).numpy()
    return np.where(np.isnan(bound), np.nan, bound <= epsilon)


def _prepare(
    classifier: Any, x: Array, y: Array, norm: Any, lipschitz: Any, kind: BoundKind
) -> tuple[LipschitzBound, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The Lipschitz constant; and logits, features, head weight and labels in float64 on the CPU."""
    norm = check_norm(norm)
    if kind not in SOUND_BOUND_KINDS:
        raise UnknownNameError("sound bound", kind, SOUND_BOUND_KINDS)
    if isinstance(lipschitz, LipschitzBound):
        if not lipschitz.sound or lipschitz.norm != norm:
            raise InputError(
                f"`lipschitz` is {lipschitz.kind} and for {lipschitz.norm}; a certificate in {norm} needs a constant "
                f'for {norm} that is no estimate: net.lipschitz("{norm}")'
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
