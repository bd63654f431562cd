"""The detector as a scikit-learn estimator on feature arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import assert_all_finite, check_is_fitted, validate_data

from ..errors import InputError
from ._transformer import FLOOR


def _has(method: str) -> Any:
    def check(self: SharpnessClassifier) -> bool:
        return hasattr(getattr(self, "estimator_", self._chosen()), method)

    return check


class SharpnessClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifies points as clean or adversarial from log κ or its factors; one threshold by default.

    A threshold can only work where adversarial points are all sharper, or all flatter, than clean ones;
    strong attacks reach both sides, for which `DecisionTreeClassifier(max_leaf_nodes=3)` has two thresholds.
    −inf, the logarithm of a sharpness of exactly 0, counts as `FLOOR`; NaN and +inf are refused.

    Args:
        estimator: The classifier that is fitted; a decision stump if None.

    Attributes:
        estimator_: The fitted classifier.
        classes_: The two labels, sorted; the second one means adversarial.
        n_features_in_: Number of columns in `fit`.

    >>> import numpy as np
    >>> log_kappa = np.array([[-9.0], [-8.0], [-np.inf], [1.0], [2.0], [1.5]])
    >>> detector = SharpnessClassifier().fit(log_kappa, [0, 0, 0, 1, 1, 1])
    >>> detector.predict([[-20.0], [3.0]])
    array([0, 1])
    >>> float(detector.estimator_.tree_.threshold[0])
    -3.5
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SharpnessClassifier:
        """Fit the classifier.

        Args:
            X: Features, shape (n, m), such as log κ in one column.
            y: Two labels, shape (n,): 0 for clean and 1 for adversarial points, or any other two.
            sample_weight: Weights, shape (n,), for classifiers that take them; all 1 if None.

        Returns:
            The estimator itself.

        Raises:
            InputError: If there are more than two labels.
        """
        X, y = validate_data(self, X, y, ensure_all_finite=False)
        X = _floored(X)
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind != "binary":
            raise InputError(
                f"Only binary classification is supported. The type of the target is {kind}; label clean "
                "points 0 and adversarial points 1"
            )
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator_ = self._chosen().fit(X, y, **weights)
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The label of each row.

        Args:
            X: Features, shape (n, m).

        Returns:
            Labels, shape (n,).
        """
        labels: np.ndarray = self._of("predict", X)
        return labels

    @available_if(_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each label.

        Args:
            X: Features, shape (n, m).

        Returns:
            Probabilities, shape (n, 2), in the order of `classes_`.
        """
        probabilities: np.ndarray = self._of("predict_proba", X)
        return probabilities

    @available_if(_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> np.ndarray:
        """The decision value of each row; larger means more adversarial.

        Args:
            X: Features, shape (n, m).

        Returns:
            Decision values, shape (n,).
        """
        values: np.ndarray = self._of("decision_function", X)
        return values

    def _of(self, method: str, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, ensure_all_finite=False)
        return getattr(self.estimator_, method)(_floored(X))

    def _chosen(self) -> Any:
        if self.estimator is None:
            return DecisionTreeClassifier(max_depth=1, random_state=0)
        return clone(self.estimator)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _floored(X: np.ndarray) -> np.ndarray:
    raised = np.where(np.isneginf(X), FLOOR, X) if X.dtype.kind == "f" else X
    assert_all_finite(raised, input_name="X")
    return raised
