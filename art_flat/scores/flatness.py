"""Scores of flatness at adversarial points relative to their clean points.

All functions share these rules. Values of adversarial points have shape (n,), or (m, n) for m attacks on the
same n samples, and then every adversarial point is compared with its own clean point and counts with the
weight of its sample. Points that are not `admissible` (outside the ball) are excluded, and so are pairs with
a NaN. κ is given by its logarithm, which is finite where κ underflows. Quantiles are order statistics, never
a mean of two values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._utils.numbers import check_number
from ..errors import InputError
from ._points import (
    check_mask,
    check_pairs,
    check_points,
    check_share,
    check_weight,
    require_not_nan,
)
from .reduce import any_adversarial, difference, flatter_share
from .weighted import exp_quantile, median_by_key, weighted_quantile, weighted_share

_NO_PAIR = "every pair has a NaN, κ = 0 at both points, or an adversarial point that is not admissible"


class FlatnessDecomposition(NamedTuple):
    """Medians of Δlog κ and of its two parts, nats; per point the parts add up, medians need not."""

    delta_log_kappa: float
    """Median of log κ(x′) − log κ(x); below 0: adversarial points are flatter."""
    from_feature_norm: float
    """Median of 2 (log‖φ(x′)‖ − log‖φ(x)‖)."""
    from_confidence: float
    """Median of log G(x′) − log G(x), G = Σ p (1 − p); below 0: the model is more confident at adversarial points."""


class MatchedFlatness(NamedTuple):
    """Flatness ratio between points of equal confidence, and the share of matched points."""

    ratio: float
    """Quantile of κ(x′) / κ(matched clean points), in [0, inf]; below 1: flatter at equal confidence."""
    matched_fraction: float
    """Share of the adversarial points that have a clean point of their confidence, in [0, 1]."""


def flatness_ratio(
    log_kappa: Any,
    log_kappa_adv: Any,
    *,
    quantile: float = 0.5,
    admissible: Any = None,
    sample_weight: Any = None,
) -> float:
    """Quantile over adversarial points of κ(x′) / κ(x) = exp(Δlog κ); below 1: they are flatter.

    κ = 0 (log κ = −inf) at the adversarial point alone is a ratio of 0, at the clean point alone one of inf;
    κ = 0 at both has no ratio and is excluded, like NaN.

    Args:
        log_kappa: log κ at the clean points, (n,).
        log_kappa_adv: log κ at the adversarial points, (n,) or (m, n), in the same definition of κ.
        quantile: Quantile in [0, 1]; 0.5 is the (lower) median.
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The ratio, without unit, in [0, inf]; inf also where it exceeds float64.

    Raises:
        InputError: If shapes do not fit or no pair is left to score.

    >>> round(flatness_ratio([0.0, 1.0, 2.0], [-1.0, 0.5, 3.0]), 4)
    0.6065
    >>> flatness_ratio([0.0], [float("-inf")])
    0.0
    """
    quantile = check_share(quantile, "quantile")
    [(clean, adv)], weight = check_pairs({"log_kappa": (log_kappa, log_kappa_adv)}, admissible, sample_weight)
    return require_not_nan(exp_quantile(difference(adv, clean), quantile, weight), _NO_PAIR)


def flat_adversarial_fraction(
    log_kappa: Any, log_kappa_adv: Any, *, admissible: Any = None, sample_weight: Any = None
) -> float:
    """Share of adversarial points that are strictly flatter than their clean point: κ(x′) < κ(x).

    The pairs are those of `flatness_ratio`, whose median is below 1 exactly if this share is at least ½.

    Args:
        log_kappa: log κ at the clean points, (n,).
        log_kappa_adv: log κ at the adversarial points, (n,) or (m, n), in the same definition of κ.
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The share, in [0, 1].

    Raises:
        InputError: If shapes do not fit or no pair is left to score.

    >>> flat_adversarial_fraction([0.0, 1.0, 2.0, 2.0], [-1.0, 0.5, 3.0, 2.0])
    0.5
    """
    [(clean, adv)], weight = check_pairs({"log_kappa": (log_kappa, log_kappa_adv)}, admissible, sample_weight)
    return require_not_nan(flatter_share(adv, clean, weight), _NO_PAIR)


def confidently_wrong_fraction(
    y_true: Any,
    logits_adv: Any,
    *,
    confidence: float = 0.9,
    admissible: Any = None,
    finished: Any = None,
    sample_weight: Any = None,
) -> float:
    """Share of samples with an adversarial point that is predicted wrongly with max p ≥ `confidence`.

    Flatness there does not imply robustness: the loss is flat because the model is confident in the wrong class. Only
    adversarial points are considered, not the clean ones.

    Args:
        y_true: True labels, (n,) or one-hot (n, k).
        logits_adv: Adversarial logits, (n, k), or (m, n, k) for m attacks: one such point of a sample is
            enough.
        confidence: Smallest top softmax probability that counts as confident, in [0, 1].
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); a sample with none is not
            confidently wrong, but stays in the denominator, as in robust accuracy.
        finished: Mask of the points that an attack finished, (n,) or (m, n); all if None. An undefined output is not
            confident, but stays in the denominator.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The share, in [0, 1], of the samples that at least one attack finished.

    Raises:
        InputError: If shapes or labels do not fit, or no sample is left to score.

    >>> confidently_wrong_fraction([0, 0, 0], [[0.0, 5.0], [0.0, 0.1], [5.0, 0.0]])
    0.333...
    """
    confidence = check_share(confidence, "confidence")
    adv = check_points(y_true, logits_adv, adversarial=True)
    mask = check_mask(admissible, adv.loss.shape)
    done = check_mask(finished, adv.loss.shape, "finished", "result.status != 'failed'")
    weight = check_weight(sample_weight, adv.loss.shape[-1])
    sure = any_adversarial(adv.wrong & (adv.confidence >= confidence) & mask & done)
    return require_not_nan(weighted_share(sure, any_adversarial(done), weight))


def flatness_decomposition(
    feature_norm: Any,
    feature_norm_adv: Any,
    log_gini: Any,
    log_gini_adv: Any,
    *,
    admissible: Any = None,
    sample_weight: Any = None,
) -> FlatnessDecomposition:
    """Split Δlog κ into feature norm and confidence: Δlog κ = 2 Δlog‖φ‖ + Δlog G, exact for every point.

    It holds for the definitions "paper" and "unsquared" of κ, where the head cancels. For "neuronwise" pass
    log κ − 2 log‖φ‖ in place of log G; the second part is then confidence and the geometry of the head.

    Args:
        feature_norm: ‖φ‖ at the clean points, ≥ 0, (n,).
        feature_norm_adv: ‖φ‖ at the adversarial points, (n,) or (m, n).
        log_gini: log G at the clean points, (n,); see `art_flat.functional.log_gini_impurity`.
        log_gini_adv: log G at the adversarial points, the shape of `feature_norm_adv`.
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The (lower) medians of the three, over the same pairs, nats; pairs where one is undefined are excluded.

    Raises:
        InputError: If shapes do not fit, a norm is negative, or no pair is left to score.

    >>> flatness_decomposition([1.0], [1.0], [-1.0], [-3.0])
    FlatnessDecomposition(delta_log_kappa=-2.0, from_feature_norm=0.0, from_confidence=-2.0)
    """
    columns = {"feature_norm": (feature_norm, feature_norm_adv), "log_gini": (log_gini, log_gini_adv)}
    [(norm, norm_adv), (gini, gini_adv)], weight = check_pairs(columns, admissible, sample_weight)
    if (norm < 0).any() or (norm_adv < 0).any():
        raise InputError("feature norms must be at least 0; pass ‖φ‖, not its logarithm")
    with np.errstate(divide="ignore"):
        from_norm = difference(2 * np.log(norm_adv), 2 * np.log(norm))
    parts = np.stack([from_norm, difference(gini_adv, gini)])
    with np.errstate(invalid="ignore"):
        change = parts.sum(axis=0)
    pair_weight = np.where(np.isnan(change), 0.0, weight)
    medians = [require_not_nan(weighted_quantile(v, 0.5, pair_weight), _NO_PAIR) for v in (change, *parts)]
    return FlatnessDecomposition(*medians)


def flatness_at_matched_confidence(
    log_kappa: Any,
    log_kappa_adv: Any,
    log_gini: Any,
    log_gini_adv: Any,
    *,
    tolerance: float = 0.1,
    quantile: float = 0.5,
    admissible: Any = None,
    sample_weight: Any = None,
) -> MatchedFlatness:
    """Flatness ratio between adversarial points and clean points, of any sample, of the same confidence.

    G depends on the probabilities alone, so adversarial points may look flat only because the model is confident
    there. Each adversarial point is therefore compared with the clean point whose log G is nearest (of
    several with the same log G, their median log κ), and excluded if none is within `tolerance`. For κ
    "paper" and "unsquared" what remains is the difference in feature norm, up to `tolerance`.

    Args:
        log_kappa: log κ at the clean points, (n,).
        log_kappa_adv: log κ at the adversarial points, (n,) or (m, n), in the same definition of κ.
        log_gini: log G at the clean points, (n,). Max p would work too, but log G does not saturate.
        log_gini_adv: log G at the adversarial points, the shape of `log_kappa_adv`.
        tolerance: Largest difference in log G within a match, nats, ≥ 0; 0.1 is about 10 % of G.
        quantile: Quantile of the ratio, in [0, 1]; 0.5 is the (lower) median.
        admissible: Mask of the adversarial points in the ball, (n,) or (m, n); all if None.
        sample_weight: Weights, (n,); all 1 if None.

    Returns:
        The ratio, and the share of adversarial points that were matched.

    Raises:
        InputError: If shapes do not fit or no adversarial point could be matched.

    >>> flatness_at_matched_confidence([1.0, 5.0], [1.0, 7.0], [-3.0, -1.0], [-3.02, -9.0])
    MatchedFlatness(ratio=1.0, matched_fraction=0.5)
    """
    tolerance = check_number(tolerance, "tolerance", "nats of log G", at_least=0.0)
    quantile = check_share(quantile, "quantile")
    columns = {"log_kappa": (log_kappa, log_kappa_adv), "log_gini": (log_gini, log_gini_adv)}
    [(kappa, kappa_adv), (gini, gini_adv)], weight_adv = check_pairs(columns, admissible, sample_weight)
    weight = check_weight(sample_weight, kappa.size)
    usable = np.isfinite(gini) & ~np.isnan(kappa) & (weight > 0)
    usable_adv = np.isfinite(gini_adv) & ~np.isnan(kappa_adv)
    if not usable.any():
        raise InputError("no clean point is left to match: every log κ or log G is NaN")
    keys, medians = median_by_key(gini[usable], kappa[usable], weight[usable])
    right = np.searchsorted(keys, gini_adv).clip(0, keys.size - 1)
    left = (right - 1).clip(0)
    with np.errstate(invalid="ignore"):
        nearest = np.where(np.abs(gini_adv - keys[left]) <= np.abs(keys[right] - gini_adv), left, right)
        matched = usable_adv & (np.abs(gini_adv - keys[nearest]) <= tolerance)
    change = np.where(matched, difference(kappa_adv, medians[nearest]), np.nan)
    why = f"no clean point's log G lies within {tolerance:g} of an adversarial point's; widen `tolerance`"
    ratio = require_not_nan(exp_quantile(change, quantile, weight_adv), why)
    return MatchedFlatness(ratio, weighted_share(~np.isnan(change), usable_adv, weight_adv))
