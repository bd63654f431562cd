"""How many adversarial points a detector flags at a fixed false positive rate, whether or not the attack knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from .._utils.numbers import check_number
from ..attacks import Attack, load_attack
from ..diagnostics import Finding
from ..errors import InputError
from ..functional.factors import COLUMNS
from ..typing import Definition

ADAPTIVE_STEPS = 50
"""Steps of the attacks that know the detector."""
_CENTRAL = (0.1, 0.9)
"""Quantiles of clean points between which an adaptive attack stays, away from the edges of what is not flagged."""


@dataclass(frozen=True)
class DetectionRates:
    """The share of adversarial points that a detector flags.

    A point of the adaptive attack counts as flagged unless it is a wrong prediction that is not flagged.

    Attributes:
        n: Number of clean-correct samples that the plain attack fooled; the rates are over these.
        false_positive_rate: Share of clean points that may be flagged; sets the threshold.
        plain: True positive rate of the attack that does not know the detector, in [0, 1]; NaN if n is 0.
        adaptive: The same of the attack that knows it; NaN if it was not run.
        attack: The plain attack.
        adaptive_attack: The adaptive attack; None if it was not run.
    """

    n: int
    false_positive_rate: float
    plain: float
    adaptive: float
    attack: str
    adaptive_attack: str | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """`detector-not-attacked` if only the plain attack was run."""
        return () if self.adaptive_attack else (not_attacked(self.attack),)


def not_attacked(attack: str) -> Finding:
    """The finding that a detector was tested on an attack that does not know it.

    Args:
        attack: The plain attack.

    Returns:
        The finding.
    """
    return Finding(
        "detector-not-attacked",
        "warning",
        f"the true positive rate is that of {attack}, which does not know the detector",
        (),
        "An attacker who knows it chooses other points; pass adaptive=True for the rate against those.",
    )


def detector_scores(detector: Any, X: np.ndarray) -> np.ndarray:
    """A score that is larger for points that look more adversarial to a fitted detector.

    A decision function if there is one; for a decision tree on one column the distance to its nearest threshold,
    positive where it says adversarial; otherwise the probability of the second class, or the decision itself.

    Args:
        detector: A fitted classifier of two classes.
        X: Its columns, shape (n, m).

    Returns:
        Scores, float64, shape (n,).
    """
    if hasattr(detector, "decision_function"):
        return np.asarray(detector.decision_function(X), dtype=np.float64)
    tree = getattr(detector, "estimator_", detector)
    if type(tree) is DecisionTreeClassifier and X.shape[1] == 1:
        return _signed_distance(detector, tree.tree_, X)
    if hasattr(detector, "predict_proba"):
        return np.asarray(detector.predict_proba(X)[:, 1], dtype=np.float64)
    return np.asarray(detector.predict(X) == detector.classes_[1], dtype=np.float64)


def _signed_distance(detector: Any, tree: Any, X: np.ndarray) -> np.ndarray:
    sign: np.ndarray = np.where(detector.predict(X) == detector.classes_[1], 1.0, -1.0)
    thresholds = np.sort(tree.threshold[tree.children_left >= 0])
    if not thresholds.size:
        return sign
    between = (thresholds[1:] + thresholds[:-1]) / 2
    cells = np.r_[thresholds[0] - 1, between, thresholds[-1] + 1][:, None]
    changes = np.diff(detector.predict(cells)) != 0
    if not changes.any():
        return sign
    distance: np.ndarray = np.abs(X - thresholds[changes]).min(axis=1)
    return np.asarray(sign * distance)


def check_rate(false_positive_rate: Any) -> float:
    """A share in [0, 1], validated.

    Args:
        false_positive_rate: A number, or the text of one.

    Returns:
        The share.

    Raises:
        InputError: If it is not such a number.
    """
    share = check_number(
        false_positive_rate, "false_positive_rate", "share of the clean points", at_least=0.0
    )
    if share > 1:
        raise InputError(f"`false_positive_rate` must be at most 1, got {share:g}")
    return share


def threshold_at(clean: np.ndarray, false_positive_rate: float) -> float:
    """The smallest clean score above which at most this share of the clean scores lies.

    Args:
        clean: Scores of clean points, shape (n,).
        false_positive_rate: In [0, 1].

    Returns:
        The threshold.

    >>> threshold_at(np.arange(100.0), 0.05)
    94.0
    """
    return float(np.quantile(clean, 1 - false_positive_rate, method="inverted_cdf"))


def adaptive_attack(
    detector: Any,
    columns: Sequence[str],
    clean: np.ndarray,
    adversarial: np.ndarray,
    *,
    false_positive_rate: float,
    definition: Definition,
    steps: int,
) -> Attack:
    """The attack on the classifier and a detector fitted on some columns.

    Against one column it maximises the loss among wrong predictions in the longest range of clean values that are not
    flagged. Against several it minimises the detector's score, or its linear approximation, among wrong predictions.

    Args:
        detector: A fitted classifier of two classes.
        columns: Its columns.
        clean: Their values at clean points, shape (n, m).
        adversarial: Their values at points of the plain attack, shape (n, m).
        false_positive_rate: Share of clean points that may be flagged.
        definition: Definition of κ.
        steps: Steps of the attack.

    Returns:
        `art_flat:APGD` with an adaptive objective.
    """
    goal: dict[str, Any]
    if len(columns) == 1:
        scores = detector_scores(detector, clean)
        is_passed = scores <= threshold_at(scores, false_positive_rate)
        goal = {"within": {columns[0]: _passed_range(clean[:, 0], is_passed)}}
    else:
        points = np.concatenate([clean, adversarial])
        goal = {"objective": "detector", "score": _linear(detector, columns, points)}
    return load_attack("art_flat:APGD", steps=steps, definition=definition, **goal)


def _passed_range(values: np.ndarray, is_passed: np.ndarray) -> tuple[float, float]:
    """The central part of the longest run of values, in their order, that are not flagged."""
    order = np.argsort(values)
    runs = np.split(values[order], np.flatnonzero(np.diff(is_passed[order].astype(int))) + 1)
    kept = runs[0 if is_passed[order[0]] else 1 :: 2]
    low, high = np.quantile(max(kept, key=len), _CENTRAL)
    margin = 1e-6 * max(1.0, abs(low))
    return float(low - margin), float(high + margin)


def _linear(detector: Any, columns: Sequence[str], points: np.ndarray) -> dict[str, float]:
    """Weights of the detector's score by least squares, exact for a linear score."""
    varying = np.ptp(points, axis=0) > 0
    centred = points[:, varying] - points[:, varying].mean(axis=0)
    weights = np.linalg.lstsq(centred, detector_scores(detector, points), rcond=None)[0]
    return dict(zip(np.asarray(columns)[varying].tolist(), weights.tolist(), strict=True))


def column_indices(columns: Sequence[str]) -> list[int]:
    """Positions of some columns among `COLUMNS`."""
    return [COLUMNS.index(column) for column in columns]
