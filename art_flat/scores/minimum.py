"""Scores of the smallest loss increase and smallest distance that change a prediction.

The rules of `robustness` about labels, logits, m attacks, admissible and finished points also hold here; an undefined
output is a wrong prediction at its distance, whose loss increase is not known. Attacks may miss the cheapest wrong
point, so both are upper estimates. Both are +inf for a sample where no wrong prediction was found;
`wrong_prediction_found_fraction` is their complementary share, and a mean is never taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ._points import (
    check_case,
    check_column,
    check_mask,
    check_points,
    check_share,
    check_weight,
    require_not_nan,
)
from .reduce import any_adversarial, masked_min
from .weighted import weighted_quantile


def minimum_loss_increase(
    y_true: Any,
    logits: Any,
    logits_adv: Any,
    *,
    quantile: float = 0.5,
    admissible: Any = None,
    finished: Any = None,
    sample_weight: Any = None,
) -> float:
    """Quantile over samples of m(x) = min of ℓ(ξ, y) − ℓ(x, y) over the points ξ whose prediction is wrong.

    m(x) is +inf where no wrong prediction was found, and excluded where only undefined outputs were. The clean point
    is one of the points, so m(x) ≤ 0 where it is wrong itself. Always m(x) ≥ log 2 − ℓ(x, y). The quantile is an order
    statistic, never a mean of two values: the smallest value that at least the share `quantile` of the weight does
    not exceed.

    Args:
        y_true: True labels, (n,) or one-hot (n, k).
        logits: Clean logits, (n, k).
        logits_adv: Adversarial logits, (n, k) or (m, n, k).
        quantile: Quantile in [0, 1]; 0.5 is the (lower) median.
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); the others are ignored.
        finished: Mask of the points that an attack finished, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The quantile in nats, possibly +inf: an upper estimate, as attacks may miss the cheapest wrong point.
        Read it beside `wrong_prediction_found_fraction`.

    Raises:
        InputError: If shapes or labels do not fit, or no sample is left to score.

    >>> clean, adv = [[0.6, 0.1, 0.1], [0.6, 0.1, 0.1]], [[0.6, 0.7, -5.0], [0.6, 0.5, 0.5]]
    >>> round(minimum_loss_increase([0, 0], clean, adv), 4)   # a wrong prediction at a smaller loss
    -0.0482
    >>> minimum_loss_increase([0, 0], clean, adv, quantile=0.9)
    inf
    """
    quantile = check_share(quantile, "quantile")
    case = check_case(y_true, logits, logits_adv, admissible, finished, sample_weight)
    return require_not_nan(
        weighted_quantile(case.smallest_increase(), quantile, case.weight),
        "no attack finished, or only undefined outputs were found",
    )


def minimum_adversarial_distance(
    y_true: Any,
    logits_adv: Any,
    distance: Any,
    *,
    logits: Any = None,
    quantile: float = 0.5,
    admissible: Any = None,
    finished: Any = None,
    sample_weight: Any = None,
) -> float:
    """Quantile over samples of the smallest distance with a wrong prediction; +inf where none was found.

    With the clean `logits`, a misclassified sample has distance 0, by convention; without them
    only the adversarial points count. The quantile is an order statistic, as in `minimum_loss_increase`.

    Args:
        y_true: True labels, (n,) or one-hot (n, k).
        logits_adv: Adversarial logits, (n, k) or (m, n, k).
        distance: Distances of the adversarial from the clean points, ≥ 0, (n,) or (m, n); NaN is excluded.
        logits: Clean logits, (n, k), or None.
        quantile: Quantile in [0, 1]; 0.5 is the (lower) median.
        admissible: Mask of the adversarial points that count, (n,) or (m, n); all if None.
        finished: Mask of the points that an attack finished, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The quantile in the unit of `distance`, possibly +inf: an upper estimate of the true one.

    Raises:
        InputError: If shapes or labels do not fit, a distance is negative, or no sample is left to score.

    >>> logits_adv = [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    >>> minimum_adversarial_distance([0, 0, 0], logits_adv, [0.1, 0.3, 0.5])
    0.3
    >>> minimum_adversarial_distance([0, 0, 0], logits_adv, [0.1, 0.3, 0.5], quantile=1.0)
    inf
    """
    quantile = check_share(quantile, "quantile")
    clean = None if logits is None else check_points(y_true, logits)
    adv = check_points(y_true, logits_adv, adversarial=True, clean=clean)
    far = check_column(distance, "distance", adv.loss.shape)
    if (far < 0).any():
        raise InputError(f"`distance` must be at least 0, got {np.nanmin(far):g}; pass norms of x_adv - x")
    mask = check_mask(admissible, adv.loss.shape)
    done = check_mask(finished, adv.loss.shape, "finished", "result.status != 'failed'")
    weight = check_weight(sample_weight, adv.loss.shape[-1])
    is_known = done & ~np.isnan(far)
    shortest = np.where(any_adversarial(is_known), masked_min(far, adv.wrong & mask & is_known), np.nan)
    if clean is not None:
        shortest = np.where(clean.undefined, 0.0, shortest)
        shortest = np.where(clean.wrong, np.minimum(shortest, 0.0), shortest)
    return require_not_nan(
        weighted_quantile(shortest, quantile, weight), "no attack finished, or every distance is NaN"
    )
