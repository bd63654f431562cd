"""Adapters: logits, features and head of an ART estimator; the only part that knows ART's estimators."""

from __future__ import annotations

from art.estimators.classification import PyTorchClassifier
from art.estimators.classification.scikitlearn import ScikitlearnClassifier, ScikitlearnLogisticRegression

from ._adapt import adapt as adapt
from .base import Adapter as Adapter
from .base import Head as Head
from .base import Outputs as Outputs
from .base import Passes as Passes
from .pytorch import PyTorchAdapter as PyTorchAdapter
from .scikitlearn import ScikitlearnLogisticRegressionAdapter as ScikitlearnLogisticRegressionAdapter
from .scikitlearn import ScikitlearnMLPAdapter as ScikitlearnMLPAdapter

__all__ = [
    "Adapter",
    "Head",
    "Outputs",
    "Passes",
    "PyTorchAdapter",
    "ScikitlearnLogisticRegressionAdapter",
    "ScikitlearnMLPAdapter",
    "adapt",
]


adapt.register(PyTorchClassifier, PyTorchAdapter)
adapt.register(ScikitlearnClassifier, ScikitlearnMLPAdapter)
adapt.register(ScikitlearnLogisticRegression, ScikitlearnLogisticRegressionAdapter)
