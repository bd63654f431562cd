"""The adapters of ART's wrappers of scikit-learn's LogisticRegression and MLPClassifier."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from .._utils.arrays import to_tensor
from ..certification import Graph
from ..errors import InputError, UnsupportedEstimatorError
from ._art import ArtAdapter
from ._graph import trace_net
from ._perceptron import Layers, Perceptron, flat
from .base import Head, Outputs


class _ScikitlearnAdapter(ArtAdapter):
    """Base class of both: weights in arrays, computation in float64 on the CPU."""

    _weight: str
    """The model's attribute with its weights; it exists once the model is fitted."""
    _why: str
    """Part of the error message if the probabilities do not follow from the weights."""

    def __init__(self, estimator: Any, head: str | None = None) -> None:
        name = type(estimator.model).__name__
        if head is not None:
            raise InputError(f"a {name} has one linear layer at its end; leave out head={head!r}")
        if not hasattr(estimator.model, self._weight):
            raise UnsupportedEstimatorError(
                f"the classifier's {name} is not fitted; call classifier.fit(x, y) before adapt()"
            )
        super().__init__(
            estimator,
            nb_classes=len(estimator.model.classes_),
            device=torch.device("cpu"),
            dtype=torch.float64,
        )
        self._check_probabilities()

    @property
    def feature_names(self) -> Sequence[str] | None:  # type: ignore[override]
        """The columns that the model was fitted on, if it was fitted on a data frame."""
        names = getattr(self.estimator.model, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    @abstractmethod
    def _layers(self) -> Layers:
        """The layers of the current model."""

    @property
    def head(self) -> Head:
        """The current linear head; it follows the model if it is fitted again."""
        return self._layers().head

    def forward(self, x: Tensor) -> Outputs:
        """Logits and features of one batch; see `Adapter.forward`.

        Args:
            x: Samples, shape (n, *input_shape).

        Returns:
            Logits and features.
        """
        return self._layers()(flat(x, self.preprocessing))

    def _module(self, span: tuple[Tensor, Tensor] | None) -> nn.Module:
        return Perceptron(self._layers(), self.preprocessing, span)

    def _arguments(self) -> dict[str, Any]:
        return {"model": self.estimator.model}

    def _extractor(self) -> tuple[nn.Module, str | None]:
        return self._layers().extractor(), None

    def _trace(self) -> Graph:
        return trace_net(self._boundable(self._layers().as_sequential().eval()), self.input_shape)

    def _changeable(self) -> None:
        return None

    def _check_probabilities(self) -> None:
        layers = self._layers()
        width = (layers.hidden[0][0] if layers.hidden else layers.head.weight).shape[1]
        inputs = np.random.default_rng(0).normal(size=(3, width))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model fitted on a data frame warns about missing column names
            expected = to_tensor(self.estimator.model.predict_proba(inputs))
        probabilities = layers(to_tensor(inputs)).logits.softmax(dim=1)
        same = probabilities.shape == expected.shape
        if not same or not torch.allclose(probabilities, expected.double(), rtol=1e-4, atol=1e-6):
            raise UnsupportedEstimatorError(
                f"predict_proba of the {type(self.estimator.model).__name__} is {self._why}"
            )


class ScikitlearnLogisticRegressionAdapter(_ScikitlearnAdapter):
    """Adapter of ART's `ScikitlearnLogisticRegression`: its features are the preprocessed inputs, in float64.

    Modules made by `as_module` hold a copy of the current weights.

    Args:
        estimator: The classifier, fitted.
        head: Must be None: there is only one head.

    Raises:
        InputError: If `head` is not None.
        UnsupportedEstimatorError: If the model is not fitted or its probabilities are not the softmax of W x + b.

    >>> import art_flat as af
    >>> from art.estimators.classification import SklearnClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> x, y = np.array([[0.0], [0.2], [0.8], [1.0]]), np.array([0, 0, 1, 1])
    >>> net = af.adapt(SklearnClassifier(LogisticRegression().fit(x, y), clip_values=(0, 1)))
    >>> net.predict(x), net.head.weight.shape
    (array([0, 0, 1, 1]), torch.Size([2, 1]))
    """

    _weight = "coef_"
    _why = (
        "not softmax(W x + b), as when classes are fitted one against the rest; use a solver that fits all "
        "classes together, such as 'lbfgs'"
    )

    def _layers(self) -> Layers:
        weight = _array(self.estimator.model.coef_)
        bias = _array(self.estimator.model.intercept_).expand(len(weight))
        return Layers([], "identity", Head.from_layer(weight, bias, "coef_"))

    def _weights(self) -> Mapping[str, Any]:
        model = self.estimator.model
        return {name: np.asarray(getattr(model, name)) for name in ("coef_", "intercept_", "classes_")}


class ScikitlearnMLPAdapter(_ScikitlearnAdapter):
    """Adapter of ART's `ScikitlearnClassifier` of an `MLPClassifier`: its features are the last hidden layer's outputs.

    Computation is in float64 for any dtype of the fitted model. Modules made by `as_module` hold a copy of the current
    weights; unlike ART's wrapper, they are differentiable.

    Args:
        estimator: The classifier, fitted.
        head: Must be None: there is only one head.

    Raises:
        InputError: If `head` is not None.
        UnsupportedEstimatorError: If the model is not a fitted `MLPClassifier` of single labels.

    >>> import art_flat as af
    >>> from art.estimators.classification import SklearnClassifier
    >>> x, y = np.array([[0.0], [0.2], [0.8], [1.0]]), np.array([0, 0, 1, 1])
    >>> model = MLPClassifier((3,), solver="lbfgs", random_state=0).fit(x, y)
    >>> net = af.adapt(SklearnClassifier(model, clip_values=(0, 1)))
    >>> net.predict(x), net.head.weight.shape
    (array([0, 0, 1, 1]), torch.Size([2, 3]))
    """

    _weight = "coefs_"
    _why = (
        "not what its weights give; adapt a plain MLPClassifier, or register an adapter for yours: "
        "adapt.register(MyEstimator)(function)"
    )

    def __init__(self, estimator: Any, head: str | None = None) -> None:
        model = estimator.model
        if not isinstance(model, MLPClassifier):
            raise UnsupportedEstimatorError(
                f"{type(estimator).__name__} of a {type(model).__name__}: among scikit-learn's models, only "
                "LogisticRegression and MLPClassifier end in a linear layer that art_flat supports. For another "
                f"one, register a function that returns an Adapter: adapt.register({type(estimator).__name__})"
                "(function)"
            )
        if getattr(model, "out_activation_", "softmax") == "logistic" and model.n_outputs_ > 1:
            raise UnsupportedEstimatorError(
                "the MLPClassifier was fitted on several labels per sample; the cross-entropy needs one class "
                "per sample"
            )
        super().__init__(estimator, head)

    def _layers(self) -> Layers:
        model = self.estimator.model
        *hidden, (weight, bias) = [
            (_array(w).T, _array(b)) for w, b in zip(model.coefs_, model.intercepts_, strict=True)
        ]
        return Layers(hidden, model.activation, Head.from_layer(weight, bias, f"coefs_[{len(hidden)}]"))

    def _weights(self) -> Mapping[str, Any]:
        model = self.estimator.model
        arrays = {"classes_": np.asarray(model.classes_), "activation": model.activation}
        for i, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            arrays |= {f"coefs_[{i}]": weight, f"intercepts_[{i}]": bias}
        return arrays


def _array(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float64)
