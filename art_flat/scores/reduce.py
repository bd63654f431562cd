"""Reduction of the points of several attacks to one number per sample, for scores and summary tables.

Four rules hold everywhere. An undefined output (a NaN loss) at an admissible point counts as not robust. A point
that is not admissible (outside the ball) counts as the clean point, so its loss change is 0. An attack that did not
finish on a sample has no point there; a sample that none finished enters neither numerator nor denominator, unless
its clean output is undefined already. With m attacks, arrays of adversarial points have shape (m, n), and the worst
point of a sample counts.
"""

from __future__ import annotations

import numpy as np

from .weighted import Bools, Floats, weighted_share


def difference(adv: Floats, clean: Floats) -> Floats:
    """Value at the adversarial points minus value at the clean ones, silently NaN where one is or for ∞ − ∞.

    Args:
        adv: Losses or log κ at adversarial points, any shape.
        clean: The same at clean points, a shape that broadcasts.

    Returns:
        The differences.
    """
    with np.errstate(invalid="ignore"):
        return adv - clean


def is_flatter(log_kappa_adv: Floats, log_kappa: Floats) -> Bools:
    """Whether an adversarial point is strictly flatter than its clean point: κ(x′) < κ(x); False if one is NaN."""
    flatter: Bools = np.less(log_kappa_adv, log_kappa)
    return flatter


def flatter_share(log_kappa_adv: Floats, log_kappa: Floats, weight: Floats) -> float:
    """Weighted share of points that are flatter than their clean point, among those whose κ(x′)/κ(x) is defined.

    Args:
        log_kappa_adv: log κ at adversarial points, shape (n,) or (m, n).
        log_kappa: log κ at their clean points, shape (n,).
        weight: Weights of the adversarial points, the shape of `log_kappa_adv`.

    Returns:
        The share, in [0, 1]; NaN if nothing is left.
    """
    defined = ~np.isnan(difference(log_kappa_adv, log_kappa))
    return weighted_share(is_flatter(log_kappa_adv, log_kappa), defined, weight)


def loss_change_at(
    loss: Floats, loss_adv: Floats, admissible: Bools | None = None, finished: Bools | None = None
) -> Floats:
    """Δℓ = ℓ(x′) − ℓ(x) of every point, 0 where it is not admissible.

    Args:
        loss: Clean losses, shape (n,), nats.
        loss_adv: Adversarial losses, shape (n,) or (m, n), nats.
        admissible: Mask of the points in the ball, the shape of `loss_adv`; all if None.
        finished: Mask of the points that the attack finished, the shape of `loss_adv`; all if None.

    Returns:
        Loss changes, the shape of `loss_adv`, nats: +inf where an output is undefined, NaN where there is no point.
    """
    change = difference(loss_adv, loss)
    change = np.where(np.isnan(change), np.inf, change)
    if admissible is not None:
        change = np.where(admissible, change, 0.0)
    if finished is not None:
        change = np.where(finished, change, np.nan)
    return np.where(np.isnan(loss), np.inf, change)


def worst_case_loss_change(
    loss: Floats, loss_adv: Floats, admissible: Bools | None = None, finished: Bools | None = None
) -> Floats:
    """max(0, max Δℓ) per sample: the clean point is in the ball, so the largest change is at least 0.

    Args:
        loss: Clean losses, shape (n,), nats.
        loss_adv: Adversarial losses, shape (n,) or (m, n), nats.
        admissible: Mask of the points in the ball, the shape of `loss_adv`; all if None.
        finished: Mask of the points that the attack finished, the shape of `loss_adv`; all if None.

    Returns:
        Shape (n,), nats, at least 0; +inf where an output is undefined, NaN where no attack finished.

    >>> worst_case_loss_change(np.zeros(3), np.array([[0.5, -1.0, np.nan], [0.2, -2.0, 0.1]]))
    array([0.5, 0. , inf])
    """
    change = loss_change_at(loss, loss_adv, admissible, finished)
    largest: Floats = np.fmax.reduce(np.atleast_2d(change), axis=0)
    return np.maximum(largest, 0.0)


def evaluated_samples(loss: Floats, finished: Bools) -> Bools:
    """Mask of the scored samples: those that an attack finished, or whose clean output is undefined.

    Args:
        loss: Clean losses, shape (n,).
        finished: Mask of the points that the attack finished, shape (n,) or (m, n).

    Returns:
        Shape (n,).
    """
    return np.isnan(loss) | any_adversarial(finished)


def any_adversarial(holds: Bools) -> Bools:
    """Whether a condition holds at any adversarial point of a sample.

    Args:
        holds: Where the condition holds, shape (n,) or (m, n).

    Returns:
        Shape (n,).
    """
    hit: Bools = np.logical_or.reduce(np.atleast_2d(holds), axis=0)
    return hit


def smallest_increase(increase: Floats, wrong_clean: Bools, undefined: Bools) -> Floats:
    """m(x) per sample: `increase`, at most 0 where the clean prediction is wrong.

    Args:
        increase: Smallest loss increase with a wrong prediction, shape (n,), nats; +inf where none was found.
        wrong_clean: Whether the clean prediction is wrong, shape (n,).
        undefined: Whether an output at an admissible point is undefined, shape (n,).

    Returns:
        Shape (n,), nats; NaN where the only wrong predictions are undefined outputs, whose increase is unknown.
    """
    smallest = np.where(wrong_clean, np.minimum(increase, 0.0), increase)
    return np.where(undefined & (smallest == np.inf), np.nan, smallest)


def masked_min(values: Floats, where: Bools) -> Floats:
    """Smallest value per sample over the points of a mask, +inf where there are none.

    Args:
        values: Values to minimise (loss changes, distances), shape (n,) or (m, n).
        where: The points that count, the shape of `values`; their values are not NaN.

    Returns:
        Shape (n,).

    >>> masked_min(np.array([[0.2, 0.4], [0.1, 0.3]]), np.array([[True, False], [True, False]]))
    array([0.1, inf])
    """
    smallest: Floats = np.atleast_2d(np.where(where, values, np.inf)).min(axis=0)
    return smallest
