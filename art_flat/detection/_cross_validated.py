"""A detector fitted in folds of pairs of a clean and an adversarial point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import KFold

from .._utils.numbers import check_seed
from ..attacks import Attack
from ..typing import Definition
from ._rates import ADAPTIVE_STEPS, adaptive_attack, column_indices, detector_scores, threshold_at


class CrossValidatedDetector:
    """A detector fitted in every fold of pairs, and what it says about the points of the other folds.

    Args:
        detector: The classifier of the columns.
        columns: Its columns.
        pair: Clean and adversarial factors, shape (2, n, 4); both points of a pair go into the same fold.
        folds: Number of folds.
        seed: Seed of the folds.
        share: False positive rate.
    """

    def __init__(
        self, detector: Any, columns: Sequence[str], pair: np.ndarray, folds: int, seed: int, share: float
    ) -> None:
        self.detector, self.columns, self.share = detector, columns, share
        self.pair, self.n = pair[:, :, column_indices(columns)], pair.shape[1]
        splitter = KFold(folds, shuffle=True, random_state=check_seed(seed) % 2**32)
        split = splitter.split(np.arange(self.n)) if self.n >= folds else ()
        self.fitted = [(self._fit(train), train, test) for train, test in split]

    def _fit(self, train: np.ndarray | slice) -> Any:
        X, y = _labelled(self.pair[:, train])
        return clone(self.detector).fit(X, y)

    def balanced_accuracy(self) -> float:
        """Mean over the folds, in [0, 1]; NaN where there are fewer pairs than folds."""
        scores = []
        for fitted, _, test in self.fitted:
            X, y = _labelled(self.pair[:, test])
            scores.append(balanced_accuracy_score(y, fitted.predict(X)))
        return float(np.mean(scores)) if scores else float("nan")

    def true_positive_rate(self, factors: np.ndarray, is_adversarial: np.ndarray | None = None) -> float:
        """The share of points that are flagged, each by the detector that was not fitted on its pair.

        Args:
            factors: Factors at one adversarial point per pair, shape (n, 4).
            is_adversarial: Which of them are wrong predictions, bool (n,); the others count as flagged.

        Returns:
            In [0, 1]; NaN where there are fewer pairs than folds.
        """
        flagged = np.zeros(self.n, bool)
        for fitted, train, test in self.fitted:
            threshold = threshold_at(detector_scores(fitted, self.pair[0, train]), self.share)
            points = factors[test][:, column_indices(self.columns)]
            flagged[test] = detector_scores(fitted, points) > threshold
        caught = flagged if is_adversarial is None else flagged | ~is_adversarial
        return float(caught.mean()) if self.fitted else float("nan")

    def attack(self, definition: Definition) -> Attack:
        """The attack that knows the detector, fitted on all pairs, and the definition of κ."""
        return adaptive_attack(
            self._fit(slice(None)),
            self.columns,
            *self.pair,
            false_positive_rate=self.share,
            definition=definition,
            steps=ADAPTIVE_STEPS,
        )


def _labelled(pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of pairs (2, n, m) as rows (2n, m), and their labels: 0 for clean, 1 for adversarial ones."""
    return pair.reshape(-1, pair.shape[2]), np.repeat([0, 1], pair.shape[1])
