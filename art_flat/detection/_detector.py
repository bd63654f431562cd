"""The detector as an ART evasion detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from art.defences.detector.evasion import EvasionDetector
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from .._utils.arrays import to_numpy
from .._utils.validation import check_definition, check_labels
from ..adapters import adapt
from ..attacks.suite import load_single_attack
from ..typing import Definition
from ._classifier import SharpnessClassifier
from ._rates import ADAPTIVE_STEPS, DetectionRates, adaptive_attack, check_rate, detector_scores, threshold_at
from ._transformer import SharpnessTransformer, check_columns


class SharpnessDetector(EvasionDetector):  # type: ignore[misc]
    """Detection of adversarial points by their relative sharpness, as an ART evasion detector.

    Args:
        classifier: The classifier under attack, of ART or adapted.
        detector: Classifier of the features; `SharpnessClassifier()`, one threshold on log κ, if None.
            It is cloned, so that several detectors can share it.
        columns: Its features, a subset of `COLUMNS`; log κ alone by default.
        definition: Definition of κ: `"paper"`, `"neuronwise"` or `"unsquared"`.

    Source: arXiv 2510.14231: a decision stump on the sharpness, five folds, on a CIFAR-10 WideResNet.

    >>> import numpy as np
    >>> from art_flat.models import as_classifier, fcn
    >>> classifier = as_classifier(fcn(4, (8,), 3), input_shape=(4,), nb_classes=3)
    >>> x = np.random.default_rng(0).random((20, 4), dtype=np.float32)
    >>> detector = SharpnessDetector(classifier)
    >>> detector.fit(x, x[:, 0] > 0.5)      # in practice: clean and adversarial points, 0 and 1
    >>> report, is_adversarial = detector.detect(x)
    >>> sorted(report), is_adversarial.shape
    (['log_relative_sharpness', 'predictions'], (20,))
    """

    defence_params = ["classifier", "detector", "columns", "definition"]  # noqa: RUF012 (a list in ART, too)

    def __init__(
        self,
        classifier: Any,
        detector: Any = None,
        *,
        columns: Sequence[str] = ("log_kappa",),
        definition: Definition = "paper",
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.detector = detector
        self.columns = columns
        self.definition = definition
        self._check_params()

    def fit(self, x: Any, y: Any, batch_size: int = 128, nb_epochs: int = 20, **kwargs: Any) -> None:
        """Fit on clean and adversarial points.

        Args:
            x: Points, shape (n, *input_shape), in units of `clip_values`.
            y: 0 for clean and 1 for adversarial points, shape (n,), or one-hot (n, 2).
            batch_size: Points per forward pass of the classifier.
            nb_epochs: Ignored: there is no training in epochs.
            **kwargs: Passed to the `fit` of the classifier of the features, such as `sample_weight`.
        """
        labels = to_numpy(check_labels(y, len(x), 2))
        detector = SharpnessClassifier() if self.detector is None else clone(self.detector)
        self.detector_ = detector.fit(self._features(x, batch_size, self.columns), labels, **kwargs)

    def detect(
        self, x: Any, batch_size: int = 128, **kwargs: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Decide which points are adversarial.

        Args:
            x: Points, shape (n, *input_shape).
            batch_size: Points per forward pass of the classifier.
            **kwargs: Ignored.

        Returns:
            A report, and whether each point is adversarial, bool, shape (n,). The report has `predictions`,
            the probabilities of clean and adversarial, shape (n, 2), or the hard decisions in this form
            where there are no probabilities, and `log_relative_sharpness`, log κ, shape (n,).

        Raises:
            NotFittedError: If `fit` was not called before.
        """
        self._require_fitted()
        features = self._features(x, batch_size, [*self.columns, "log_kappa"])
        log_kappa, features = features[:, -1], features[:, :-1]
        is_adversarial = self.detector_.predict(features) == 1
        if hasattr(self.detector_, "predict_proba"):
            predictions = self.detector_.predict_proba(features)
        else:
            predictions = np.eye(2)[is_adversarial.astype(int)]
        return {"predictions": predictions, "log_relative_sharpness": log_kappa}, is_adversarial

    def true_positive_rates(
        self,
        x: Any,
        y: Any,
        attack: Any,
        *,
        delta: float,
        norm: Any = None,
        false_positive_rate: float = 0.05,
        adaptive: bool = True,
        seed: int = 0,
    ) -> DetectionRates:
        """The share of adversarial points that are flagged, whether or not the attack knows the detector.

        Args:
            x: Clean points on which it was not fitted, shape (n, *input_shape).
            y: True labels, indices (n,) or one-hot (n, k).
            attack: The plain attack: a name, an `Attack`, or anything that `as_attack` accepts.
            delta: Radius of the ball, in units of `clip_values`.
            norm: Norm of the ball; the attack's first if None.
            false_positive_rate: Share of `x` that may be flagged, in [0, 1].
            adaptive: Also run `art_flat:APGD` with 50 steps on the classifier and the detector.
            seed: Seed of the attacks.

        Returns:
            The rates, over the clean-correct samples that the plain attack fooled.

        Raises:
            NotFittedError: If `fit` was not called before.
        """
        self._require_fitted()
        share = check_rate(false_positive_rate)
        net, ball = adapt(self.classifier), {"delta": delta, "norm": norm, "seed": seed}
        plain = load_single_attack(attack)
        result = plain(net, x, y, **ball)
        is_pair = to_numpy(result.success) & (
            to_numpy(net.predict(x)) == to_numpy(check_labels(y, len(x), net.nb_classes))
        )
        clean, points = (self._features(p, 128, self.columns) for p in (x, to_numpy(result.x)))
        threshold = threshold_at(detector_scores(self.detector_, clean), share)
        flagged = detector_scores(self.detector_, points) > threshold
        known, name = float("nan"), None
        if adaptive:
            attack = adaptive_attack(
                self.detector_, self.columns, clean, points,
                false_positive_rate=share, definition=self.definition, steps=ADAPTIVE_STEPS,
            )  # fmt: skip
            result, name = attack(net, x, y, **ball), attack.name
            points = self._features(to_numpy(result.x), 128, self.columns)
            missed = to_numpy(result.success) & (detector_scores(self.detector_, points) <= threshold)
            known = _mean(~missed[is_pair])
        return DetectionRates(int(is_pair.sum()), share, _mean(flagged[is_pair]), known, plain.name, name)

    def _require_fitted(self) -> None:
        if not hasattr(self, "detector_"):
            raise NotFittedError(
                "this SharpnessDetector is not fitted; call fit(x, y) with clean and adversarial points"
            )

    def _features(self, x: Any, batch_size: int, columns: Sequence[str]) -> np.ndarray:
        transformer = SharpnessTransformer(
            self.classifier, definition=self.definition, columns=columns, batch_size=batch_size
        )
        return transformer.transform(x)

    def _check_params(self) -> None:
        check_columns(self.columns)
        check_definition(self.definition)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
