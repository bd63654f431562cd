"""Scores of the robustness of predictions and losses at given adversarial points.

All functions share these rules. Labels are class indices (n,) or one-hot rows (n, k). Logits are (n, k), or
(n, 1) if logistic; adversarial logits are (n, k), or (m, n, k) for m attacks on the same n samples, and then
the worst point of each sample is scored. `admissible` is a mask of the points in the ball, (n,) or (m, n); one
outside counts as the clean point. `finished` is a mask of the points that an attack finished, (n,) or (m, n): a sample
that no attack finished is excluded. An undefined output (a logit that is NaN or +inf, or only -inf) at the clean
point or at an admissible one counts as not robust, so a failure never raises a share. The predicted class is the
first of those with the largest logit. Attacks can only show that a point is not robust, so a robust share is an
upper bound.
"""

from __future__ import annotations

from typing import Any

from .._utils.numbers import check_epsilon
from .._utils.validation import check_keywords
from ._points import check_case, require_not_nan
from .reduce import any_adversarial, worst_case_loss_change
from .weighted import robust_share, weighted_share


@check_keywords
def loss_change_robustness_score(
    y_true: Any,
    logits: Any,
    logits_adv: Any,
    *,
    epsilon: float,
    admissible: Any = None,
    finished: Any = None,
    sample_weight: Any = None,
) -> float:
    """Share of samples whose loss rises by at most ε: mean of [max(0, max_ξ ℓ(ξ, y) − ℓ(x, y)) ≤ ε].

    Args:
        y_true: True labels, (n,) or one-hot (n, k).
        logits: Clean logits, (n, k).
        logits_adv: Adversarial logits, (n, k) or (m, n, k).
        epsilon: Tolerated loss change ε ≥ 0, nats.
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); the others count as no change.
        finished: Mask of the points that an attack finished, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The (δ,ε)-robust share, in [0, 1]: an upper estimate, as attacks may miss the largest loss.

    Raises:
        InputError: If shapes or labels do not fit, ε is negative, or no sample is left to score.

    Source:
        (δ,ε)-robustness: arXiv 2510.14231.

    >>> clean, adv = [[0.6, 0.1, 0.1], [0.6, 0.1, 0.1]], [[0.6, 0.7, -5.0], [0.6, 0.5, 0.5]]
    >>> loss_change_robustness_score([0, 0], clean, adv, epsilon=0.1)   # the first flips, yet its loss falls
    0.5
    """
    epsilon = check_epsilon(epsilon)
    case = check_case(y_true, logits, logits_adv, admissible, finished, sample_weight)
    worst = worst_case_loss_change(case.clean.loss, case.adv.loss, case.admissible, case.finished)
    return require_not_nan(robust_share(worst, [epsilon], case.weight)[0])


def prediction_robustness_score(
    y_true: Any,
    logits: Any,
    logits_adv: Any,
    *,
    admissible: Any = None,
    finished: Any = None,
    sample_weight: Any = None,
) -> float:
    """Share of samples whose predicted class no adversarial point changes, whether it is right or wrong.

    Args:
        y_true: True labels, (n,) or one-hot (n, k); only checked, a change needs no truth.
        logits: Clean logits, (n, k).
        logits_adv: Adversarial logits, (n, k) or (m, n, k).
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); the others change nothing.
        finished: Mask of the points that an attack finished, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The δ-robust share in the sense of prediction change, in [0, 1]: an upper estimate.

    Raises:
        InputError: If shapes or labels do not fit, or no sample is left to score.

    >>> clean, adv = [[0.6, 0.1, 0.1], [0.6, 0.1, 0.1]], [[0.6, 0.7, -5.0], [0.6, 0.5, 0.5]]
    >>> prediction_robustness_score([0, 0], clean, adv)   # the second keeps its class, yet its loss rises
    0.5
    """
    case = check_case(y_true, logits, logits_adv, admissible, finished, sample_weight)
    return require_not_nan(weighted_share(~any_adversarial(case.changed()), case.evaluated, case.weight))


def robust_accuracy_score(
    y_true: Any,
    logits: Any,
    logits_adv: Any,
    *,
    admissible: Any = None,
    finished: Any = None,
    sample_weight: Any = None,
) -> float:
    """Share of all samples that are right at the clean point and at every adversarial point.

    Args:
        y_true: True labels, (n,) or one-hot (n, k).
        logits: Clean logits, (n, k).
        logits_adv: Adversarial logits, (n, k) or (m, n, k).
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); the others are ignored.
        finished: Mask of the points that an attack finished, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        Robust accuracy over all points, in [0, 1]; never above clean accuracy.

    Raises:
        InputError: If shapes or labels do not fit, or no sample is left to score.

    >>> robust_accuracy_score([0, 0, 1], [[2, 0], [2, 0], [2, 0]], [[1, 0], [0, 1], [0, 1]])
    0.333...
    """
    case = check_case(y_true, logits, logits_adv, admissible, finished, sample_weight)
    wrong = case.clean.wrong | any_adversarial(case.wrong())
    return require_not_nan(weighted_share(~wrong, case.evaluated, case.weight))


def robust_accuracy_on_correct_score(
    y_true: Any,
    logits: Any,
    logits_adv: Any,
    *,
    admissible: Any = None,
    finished: Any = None,
    sample_weight: Any = None,
) -> float:
    """Share of the samples right at the clean point that stay right at every adversarial point.

    Args:
        y_true: True labels, (n,) or one-hot (n, k).
        logits: Clean logits, (n, k).
        logits_adv: Adversarial logits, (n, k) or (m, n, k).
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); the others are ignored.
        finished: Mask of the points that an attack finished, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        Robust accuracy over clean-correct points, in [0, 1]; 1 minus it is the attacks' success rate there.

    Raises:
        InputError: If shapes or labels do not fit, or no sample right at the clean point is left to score.

    >>> robust_accuracy_on_correct_score([0, 0, 1], [[2, 0], [2, 0], [2, 0]], [[1, 0], [0, 1], [0, 1]])
    0.5
    """
    case = check_case(y_true, logits, logits_adv, admissible, finished, sample_weight)
    among = case.evaluated & ~case.clean.wrong
    return require_not_nan(
        weighted_share(~any_adversarial(case.wrong()), among, case.weight),
        "none that an attack finished is predicted correctly at the clean point",
    )


def wrong_prediction_found_fraction(
    y_true: Any,
    logits: Any,
    logits_adv: Any,
    *,
    admissible: Any = None,
    finished: Any = None,
    sample_weight: Any = None,
) -> float:
    """Share of samples with a wrong prediction, at the clean or an adversarial point: 1 − robust accuracy.

    Report it beside the quantiles of `minimum_loss_increase` and `minimum_adversarial_distance`: for the
    other samples these are +inf.

    Args:
        y_true: True labels, (n,) or one-hot (n, k).
        logits: Clean logits, (n, k).
        logits_adv: Adversarial logits, (n, k) or (m, n, k).
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); the others are ignored.
        finished: Mask of the points that an attack finished, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The share found, in [0, 1].

    Raises:
        InputError: If shapes or labels do not fit, or no sample is left to score.

    >>> wrong_prediction_found_fraction([0, 0], [[2, 0], [2, 0]], [[1, 0], [0, 1]])
    0.5
    """
    return 1.0 - robust_accuracy_score(
        y_true, logits, logits_adv, admissible=admissible, finished=finished, sample_weight=sample_weight
    )
