"""Loss change and prediction change at adversarial points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.numbers import check_epsilon
from .._utils.validation import check_keywords
from ..scores.reduce import any_adversarial, worst_case_loss_change
from ._case import Case, make_case
from ._reduction import Reduction, check_reduction, reduced

if TYPE_CHECKING:
    from ..typing import Array, Norm


@check_keywords
def loss_increase(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    x_adv: Any = None,
    attack: Any = None,
    delta: float | None = None,
    norm: Norm | None = None,
    seed: int = 0,
    quantile: float = 0.5,
    reduction: Reduction = "mean",
) -> float | Array:
    """Largest loss increase found in the ball, max(0, max_ξ ℓ(ξ, y) − ℓ(x, y)).

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        x_adv: Adversarial points, (n, ...), or a list of such arrays.
        attack: One or several attacks; see `art_flat.metrics`.
        delta: Radius of the ball in clip units; optional if points are given or an attack has its own.
        norm: Norm of the ball; by default `"Linf"` for points, else the common norm of the attacks.
        seed: Seed of the attacks.
        quantile: Quantile in [0, 1], with `reduction="quantile"`.
        reduction: `"mean"`, `"quantile"` or `"none"`.

    Returns:
        Nats, ≥ 0: a float, or float64 (n,). A lower estimate of the truth, as attacks may miss the worst point.

    Raises:
        InputError: If an argument is invalid or no sample is left.
        BudgetError: If given points lie outside the ball.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> round(loss_increase(classifier, np.array([[0.6, 0.4]]), [0], attack="art_flat:PGD", delta=0.1), 4)
    0.095
    """
    check_reduction(reduction, ("mean", "quantile", "none"))
    case = make_case(classifier, x, y, x_adv=x_adv, attack=attack, delta=delta, norm=norm, seed=seed)
    return reduced(_worst(case), reduction, x, quantile)


@check_keywords
def loss_change_robustness(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    epsilon: float,
    x_adv: Any = None,
    attack: Any = None,
    delta: float | None = None,
    norm: Norm | None = None,
    seed: int = 0,
    reduction: Reduction = "mean",
) -> float | Array:
    """Share of samples whose loss rises by at most ε: empirical (δ,ε)-robustness.

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        epsilon: Tolerated loss change ε ≥ 0, nats.
        x_adv: Adversarial points, (n, ...), or a list of such arrays.
        attack: One or several attacks; see `art_flat.metrics`. Those that stop at the first wrong prediction
            underestimate the largest loss.
        delta: Radius of the ball in clip units; optional if points are given or an attack has its own.
        norm: Norm of the ball; by default `"Linf"` for points, else the common norm of the attacks.
        seed: Seed of the attacks.
        reduction: `"mean"` or `"none"`.

    Returns:
        The share, in [0, 1], an upper estimate; or 1 (robust), 0 (not) or NaN (unknown) each, float64 (n,).

    Raises:
        InputError: If an argument is invalid or no sample is left.
        BudgetError: If given points lie outside the ball.

    Source:
        (δ,ε)-robustness: arXiv 2510.14231.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> x, x_adv = np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([[0.5, 0.5], [0.9, 0.1]])
    >>> loss_change_robustness(classifier, x, [0, 0], x_adv=x_adv, delta=0.1, epsilon=0.05)
    0.5
    """
    check_reduction(reduction, ("mean", "none"))
    epsilon = check_epsilon(epsilon)
    case = make_case(classifier, x, y, x_adv=x_adv, attack=attack, delta=delta, norm=norm, seed=seed)
    worst = _worst(case)
    return reduced(np.where(np.isnan(worst), np.nan, worst <= epsilon), reduction, x)


@check_keywords
def prediction_change_robustness(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    x_adv: Any = None,
    attack: Any = None,
    delta: float | None = None,
    norm: Norm | None = None,
    seed: int = 0,
    reduction: Reduction = "mean",
) -> float | Array:
    """Share of samples whose predicted class no adversarial point changes, correct or not.

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k), for the attacks; the score itself does not use them.
        x_adv: Adversarial points, (n, ...), or a list of such arrays.
        attack: One or several attacks; see `art_flat.metrics`.
        delta: Radius of the ball in clip units; optional if points are given or an attack has its own.
        norm: Norm of the ball; by default `"Linf"` for points, else the common norm of the attacks.
        seed: Seed of the attacks.
        reduction: `"mean"` or `"none"`.

    Returns:
        The share, in [0, 1], an upper estimate; or 1 (unchanged), 0 (changed) or NaN (unknown) each, float64 (n,).

    Raises:
        InputError: If an argument is invalid or no sample is left.
        BudgetError: If given points lie outside the ball.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> x = np.array([[0.6, 0.4], [0.9, 0.1]])
    >>> prediction_change_robustness(classifier, x, [0, 0], attack="art_flat:PGD", delta=0.2)
    0.5
    """
    check_reduction(reduction, ("mean", "none"))
    case = make_case(classifier, x, y, x_adv=x_adv, attack=attack, delta=delta, norm=norm, seed=seed)
    changed = any_adversarial(case.scored.changed())
    return reduced(np.where(case.scored.evaluated, ~changed, np.nan), reduction, x)


@check_keywords
def minimum_loss_increase(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    x_adv: Any = None,
    attack: Any = None,
    delta: float | None = None,
    norm: Norm | None = None,
    seed: int = 0,
    quantile: float = 0.5,
    reduction: Reduction = "quantile",
) -> float | Array:
    """Smallest loss increase with a wrong prediction, m(x) = min of ℓ(ξ, y) − ℓ(x, y) over wrong ξ.

    +inf where no wrong prediction was found, so a mean is never taken. The clean point is one of the points:
    m(x) ≤ 0 where it is wrong itself. Always m(x) ≥ log 2 − ℓ(x, y).

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        x_adv: Adversarial points, (n, ...), or a list of such arrays.
        attack: One or several attacks; see `art_flat.metrics`. Minimum-norm attacks come closest.
        delta: Radius of the ball in clip units; optional if points are given or an attack has its own.
        norm: Norm of the ball; by default `"Linf"` for points, else the common norm of the attacks.
        seed: Seed of the attacks.
        quantile: Quantile in [0, 1]; 0.5 is the (lower) median.
        reduction: `"quantile"` or `"none"`.

    Returns:
        Nats, possibly +inf, an upper estimate: a float, or float64 (n,).

    Raises:
        InputError: If an argument is invalid or no sample is left.
        BudgetError: If given points lie outside the ball.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> x, x_adv = np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([[0.4, 0.6], [0.8, 0.2]])
    >>> minimum_loss_increase(classifier, x, [0, 0], x_adv=x_adv, reduction="none").round(4)
    array([0.2, inf])
    """
    check_reduction(reduction, ("quantile", "none"))
    case = make_case(classifier, x, y, x_adv=x_adv, attack=attack, delta=delta, norm=norm, seed=seed)
    return reduced(case.scored.smallest_increase(), reduction, x, quantile)


def _worst(case: Case) -> Any:
    return worst_case_loss_change(case.clean.loss, case.adv.loss, case.admissible, case.finished)
