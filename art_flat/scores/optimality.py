"""Scores of how close an attack is to the best of several attacks on the same samples.

The best result of a sample is that of the strongest given attack, including the scored one. It replaces
the unknown optimum: a score of 1 means that no other attack was better, not that none could be.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._utils.numbers import check_number
from ..errors import InputError
from ._points import check_column, check_weight, require_not_nan
from .weighted import area_ratio, mean_ratio


def distance_optimality_score(
    distance: Any, others: Any, *, limit: float | None = None, sample_weight: Any = None
) -> float:
    """Area above the attack's curve of robust accuracy over δ ∈ [0, T], divided by that above the envelope.

    With d the attack's smallest successful distance of a sample and d* the smallest of all attacks, the score is
    Σ max(0, T − d) / Σ max(0, T − d*): the curve of a sample falls from 1 to 0 at d. Samples with d* = 0 are wrong
    already and are left out.

    Args:
        distance: The attack's smallest successful distances, (n,); +inf where it found nothing, NaN is excluded.
        others: Those of the attacks for comparison, (n,) or (m, n).
        limit: T > 0, in the unit of `distance`; None for the largest finite d*, where the envelope reaches its
            minimum. Required if all distances are equal, as for attacks with a fixed budget.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The score, in [0, 1]; 1 where the attack is the best on every sample.

    Raises:
        InputError: If shapes do not fit, a distance is negative, or no attack found anything below the limit.

    Source:
        Local optimality: Cinà et al., "AttackBench: Evaluating Gradient-based Attacks for Adversarial Examples",
        arXiv 2404.19460.

    >>> distance_optimality_score([0.25, 0.5, np.inf], [[0.25, 0.5, 0.25], [0.5, 0.75, np.inf]], limit=1.0)
    0.625
    """
    scored = check_column(distance, "distance")
    best = np.fmin.reduce([scored, *np.atleast_2d(check_column(others, "others", scored.shape, many=True))])
    if (best < 0).any():
        raise InputError(f"distances must be at least 0, got {np.nanmin(best):g}; pass norms of x_adv - x")
    weight = np.where(best == 0, 0.0, check_weight(sample_weight, scored.size))
    if limit is None:
        finite = best[np.isfinite(best)]
        top = float(finite.max()) if finite.size else 0.0
    else:
        top = check_number(limit, "limit", "the unit of `distance`", above=0.0)
    score = area_ratio(np.maximum(top - scored, 0.0), np.maximum(top - best, 0.0), weight)
    return require_not_nan(
        score, "no attack found a wrong prediction below the limit; a larger `limit` may help"
    )


def loss_optimality_score(loss_change: Any, others: Any, *, sample_weight: Any = None) -> float:
    """Mean over samples of the attack's largest loss increase divided by the largest of all attacks.

    With m the attack's largest loss change of a sample, at least 0 since the clean point is in the ball, and m*
    the largest of all attacks, the score is the mean of m/m* over the samples with m* > 0. Every sample has the same
    weight, regardless of its loss: losses are heavy-tailed.

    Args:
        loss_change: The attack's largest ℓ(x′) − ℓ(x) of each sample at one δ, nats, (n,); NaN is excluded.
        others: Those of the attacks for comparison, at the same δ, (n,) or (m, n).
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The score, in [0, 1]; 1 where the attack is the best on every sample.

    Raises:
        InputError: If shapes do not fit, or no attack raised a loss.

    >>> loss_optimality_score([1.0, 0.5, -1.0], [[1.0, 2.0, 0.0], [0.5, 1.0, -2.0]])
    0.625
    """
    scored = check_column(loss_change, "loss_change")
    best = np.fmax.reduce([scored, *np.atleast_2d(check_column(others, "others", scored.shape, many=True))])
    score = mean_ratio(
        np.maximum(scored, 0.0), np.maximum(best, 0.0), check_weight(sample_weight, scored.size)
    )
    return require_not_nan(score, "no attack raised the loss of one")


__all__ = ["distance_optimality_score", "loss_optimality_score"]
