"""`adapt`: selects the adapter for an estimator by its type."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from ..errors import InputError, UnsupportedEstimatorError
from .base import Adapter


@functools.singledispatch
def adapt(estimator: Any, head: str | None = None) -> Adapter:
    """Adapt an estimator: access to its logits, features and head, and to their flatness.

    Takes an ART `PyTorchClassifier`, ART's wrapper of scikit-learn's `LogisticRegression` or `MLPClassifier`,
    any estimator registered with `adapt.register(MyEstimator)(function)`, or an adapter, which is returned
    unchanged. The estimator is neither copied nor changed.

    Args:
        estimator: The estimator.
        head: Name of the submodule that is the last linear layer; detected automatically if None.

    Returns:
        The adapter; `estimator` itself if it is one.

    Raises:
        UnsupportedEstimatorError: If there is no adapter for the estimator, or it uses an unsupported feature.

    >>> import torch
    >>> from art.estimators.classification import PyTorchClassifier
    >>> layers = nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)
    >>> classifier = PyTorchClassifier(
    ...     nn.Sequential(*layers), nn.CrossEntropyLoss(), (1, 2, 2), nb_classes=3, clip_values=(0, 1)
    ... )
    >>> net = adapt(classifier)
    >>> net.head.name, net.head.nb_classes, net.head.nb_features
    ('3', 3, 8)
    """  # noqa: DOC202 (the registered functions return)
    if type(estimator).__module__.startswith("sklearn."):
        raise UnsupportedEstimatorError(
            f"{type(estimator).__name__} is a scikit-learn estimator without a range of inputs; wrap it, with yours: "
            "art.estimators.classification.SklearnClassifier(model, clip_values=(0, 1))"
        )
    supported = sorted(c.__name__ for c in adapt.registry if c not in {object, nn.Module, Adapter})
    name = type(estimator).__name__
    raise UnsupportedEstimatorError(
        f"no adapter for {name}; there are adapters for {', '.join(supported)}. For another estimator, register "
        f"a function that returns an Adapter: adapt.register({name})(function)"
    )


@adapt.register
def _(estimator: Adapter, head: str | None = None) -> Adapter:
    if head is not None and head != estimator.head.name:
        raise InputError(
            f"the adapter has the head {estimator.head.name!r}; pass its estimator to use head={head!r}"
        )
    return estimator


@adapt.register
def _(estimator: nn.Module, head: str | None = None) -> Adapter:
    raise UnsupportedEstimatorError(
        f"{type(estimator).__name__} is a bare nn.Module without loss, input shape and "
        "range; wrap it, with yours: art_flat.models.as_classifier(model, input_shape=(3, 32, 32), nb_classes=10, "
        "clip_values=(0, 1)), or as ART's PyTorchClassifier"
    )
