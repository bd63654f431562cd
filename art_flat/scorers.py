"""Flatness and loss-change robustness as `scoring=` of scikit-learn's cross-validation and searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.estimators.classification import SklearnClassifier
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._utils.arrays import to_numpy
from ._utils.numbers import check_delta, check_epsilon, check_seed
from ._utils.validation import check_definition, check_keywords, check_labels, check_norm
from .adapters import Adapter, adapt
from .attacks.suite import load_attacks_for
from .errors import InputError, UnsupportedEstimatorError
from .scores import loss_change_robustness_score
from .typing import Definition

_ANY = (-np.inf, np.inf)


def neg_relative_sharpness_scorer(
    estimator: Any, X: Any, y: Any = None, *, definition: Definition = "paper"
) -> float:
    """The negative mean of κ over the samples: the larger, the flatter.

    Pass it directly, `scoring=neg_relative_sharpness_scorer`; for another definition,
    `functools.partial(neg_relative_sharpness_scorer, definition="neuronwise")`.

    Args:
        estimator: Fitted `LogisticRegression` or `MLPClassifier`, a pipeline that ends in one, or a classifier
            that `adapt` accepts.
        X: Samples, shape (n, d).
        y: Ignored: κ does not depend on labels.
        definition: Definition of κ: `"paper"`, `"neuronwise"` or `"unsquared"`.

    Returns:
        −mean κ, nats, in (−∞, 0].

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> bool((cross_val_score(model, X, y, scoring=neg_relative_sharpness_scorer) < 0).all())
    True
    """
    definition = check_definition(definition)
    if isinstance(estimator, Pipeline):
        X, estimator = estimator[:-1].transform(X), estimator[-1]
    kappa = to_numpy(_adapted(estimator, _ANY).relative_sharpness(_array(X), definition=definition))
    return -float(kappa.mean(dtype=np.float64))


class loss_change_robustness_scorer:
    """A scorer: the share of samples whose loss rises by at most ε under an attack within the ball of radius δ.

    Args:
        delta: Radius δ > 0, in the units of X.
        epsilon: Tolerated loss change ε ≥ 0, nats.
        norm: Norm of the ball.
        attack: One or several attacks, the worst case of each sample counts: names, `Attack`s, or anything
            that `as_attack` accepts.
        clip_values: Smallest and largest admissible value of X; unbounded if None.
        seed: Seed of the attacks.

    Raises:
        InputError: If δ, ε, the norm or the attack is invalid.

    Source: (δ,ε)-robustness: arXiv 2510.14231.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> X, y = load_iris(return_X_y=True)
    >>> scoring = {"robust": loss_change_robustness_scorer(delta=0.1, epsilon=0.1), "right": "accuracy"}
    >>> scores = cross_validate(LogisticRegression(max_iter=1000), X, y, scoring=scoring)
    >>> scores["test_robust"].shape
    (5,)
    """

    @check_keywords
    def __init__(
        self,
        *,
        delta: float,
        epsilon: float,
        norm: Any = "Linf",
        attack: Any = "art_flat:PGD",
        clip_values: tuple[Any, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.delta, self.epsilon, self.norm = check_delta(delta), check_epsilon(epsilon), check_norm(norm)
        attacks, _ = load_attacks_for(attack, [self.norm])  # fails here, not inside a cross-validation
        if not attacks:
            raise InputError(f"no attack of the suite {attack!r} supports the norm {self.norm}")
        self.attack, self.clip_values, self.seed = attack, clip_values, check_seed(seed)

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """Attack the samples and score the adversarial points.

        Args:
            estimator: Fitted `LogisticRegression` or `MLPClassifier`, or a classifier that `adapt` accepts.
            X: Samples, shape (n, d).
            y: Labels, shape (n,), as the estimator was fitted on; for estimators other than scikit-learn's,
                indices or one-hot rows. One-hot rows have a column for each of the estimator's `classes_`.

        Returns:
            The (δ,ε)-robust share, in [0, 1]: an upper estimate, as attacks may miss the largest loss.

        Raises:
            UnsupportedEstimatorError: If the estimator is a pipeline, or has no adapter.
            InputError: If `y` is missing, or has a label that the estimator was not fitted on.
        """
        if y is None:
            raise InputError("loss_change_robustness_scorer needs labels; pass `y`, one label per sample")
        if isinstance(estimator, Pipeline):
            raise UnsupportedEstimatorError(
                "a Pipeline changes the units of the inputs on the way, so that the ball of radius delta would "
                "be another one; transform X first and pass the last step alone"
            )
        net = _adapted(estimator, _ANY if self.clip_values is None else self.clip_values)
        x, labels = _array(X), _indices(estimator, y)
        clean = net.outputs(x)
        attacks, _ = load_attacks_for(self.attack, [self.norm])
        results = [
            attack(net, x, labels, delta=self.delta, norm=self.norm, seed=self.seed, clean=clean)
            for attack in attacks
        ]
        logits = torch.stack([r.outputs.logits for r in results])
        return loss_change_robustness_score(
            labels,
            clean.logits,
            logits,
            epsilon=self.epsilon,
            admissible=np.stack([to_numpy(r.within_budget) for r in results]),
            finished=np.stack([r.status != "failed" for r in results]),
        )

    def __repr__(self) -> str:
        return (
            f"loss_change_robustness_scorer(delta={self.delta:g}, epsilon={self.epsilon:g}, "
            f"norm={self.norm!r}, attack={self.attack!r})"
        )


def _adapted(estimator: Any, clip_values: tuple[Any, Any]) -> Adapter:
    if not isinstance(estimator, BaseEstimator):
        return adapt(estimator)
    check_is_fitted(estimator)
    return adapt(SklearnClassifier(estimator, clip_values=clip_values, preprocessing=None))


def _array(X: Any) -> Any:
    return (
        X if isinstance(X, torch.Tensor) or hasattr(X, "columns") or hasattr(X, "toarray") else np.asarray(X)
    )


def _indices(estimator: Any, y: Any) -> Any:
    if not isinstance(estimator, BaseEstimator):
        return y
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        return check_labels(labels, nb_classes=len(estimator.classes_))
    unknown = np.setdiff1d(labels, estimator.classes_).tolist()
    if unknown:
        raise InputError(
            f"`y` has the label(s) {', '.join(map(repr, unknown[:5]))}, which {type(estimator).__name__} was "
            "not fitted on; stratify the folds, so that every class is in each"
        )
    return np.searchsorted(estimator.classes_, labels)
