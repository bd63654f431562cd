"""ART's ScikitlearnLogisticRegression."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._arrays import to_tensor
from .._errors import InputError, UnsupportedEstimatorError
from ._art import ArtAdapter
from ._network import stretch
from ._preprocessing import Preprocessing
from .base import Head, Outputs


class ScikitlearnLogisticRegressionAdapter(ArtAdapter):
    """ART's `ScikitlearnLogisticRegression`: its features are the preprocessed inputs, all is float64.

    Modules made by `as_module` hold the weights as they are at that time.

    Args:
        estimator: The classifier, fitted.
        head: There is only one, so none can be named.

    Raises:
        InputError: If a head is named.
        UnsupportedEstimatorError: If the model is not fitted or its probabilities are no softmax of W x + b.

    >>> import art_flat as af
    >>> from art.estimators.classification import SklearnClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> x, y = np.array([[0.0], [0.2], [0.8], [1.0]]), np.array([0, 0, 1, 1])
    >>> net = af.adapt(SklearnClassifier(LogisticRegression().fit(x, y), clip_values=(0, 1)))
    >>> net.predict(x), net.head.weight.shape
    (array([0, 0, 1, 1]), torch.Size([2, 1]))
    """

    def __init__(self, estimator: Any, head: str | None = None) -> None:
        if head is not None:
            raise InputError(f"a logistic regression has one linear layer; leave out head={head!r}")
        if not hasattr(estimator.model, "coef_"):
            raise UnsupportedEstimatorError(
                "the classifier's LogisticRegression is not fitted; call classifier.fit(x, y) before adapt()"
            )
        super().__init__(
            estimator,
            nb_classes=len(estimator.model.classes_),
            device=torch.device("cpu"),
            dtype=torch.float64,
        )
        self._check_probabilities()

    @property
    def head(self) -> Head:
        """The linear head as it is now; follows the model if it is fitted again."""
        weight = torch.tensor(np.asarray(self.estimator.model.coef_), dtype=torch.float64)
        bias = torch.tensor(np.asarray(self.estimator.model.intercept_), dtype=torch.float64)
        return Head.of(weight, bias.expand(len(weight)), "coef_")

    def forward(self, x: Tensor) -> Outputs:
        """Logits and features of one batch; see `Adapter.forward`.

        Args:
            x: Samples, shape (n, *input_shape).

        Returns:
            Logits and features.
        """
        head, features = self.head, _features(x, self.preprocessing)
        return Outputs(features @ head.weight.T + head.bias, features)

    def _module(self, span: tuple[Tensor, Tensor] | None) -> nn.Module:
        return _Linear(self.head, self.preprocessing, span)

    def _changeable(self) -> None:
        return None

    def _weights(self) -> Mapping[str, Any]:
        model = self.estimator.model
        return {name: np.asarray(getattr(model, name)) for name in ("coef_", "intercept_", "classes_")}

    def _check_probabilities(self) -> None:
        features = np.random.default_rng(0).normal(size=(3, self.head.nb_features))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a model fitted on a data frame warns about missing column names
            expected = to_tensor(self.estimator.model.predict_proba(features))
        logits = to_tensor(features) @ self.head.weight.T + self.head.bias
        if not torch.allclose(logits.softmax(dim=1), expected.double(), rtol=1e-5, atol=1e-7):
            raise UnsupportedEstimatorError(
                "predict_proba of the LogisticRegression is not softmax(W x + b), as when classes are fitted "
                "one against the rest; use a solver that fits all classes together, such as 'lbfgs'"
            )


class _Linear(nn.Module):
    """From inputs in clip units to logits in float64."""

    def __init__(self, head: Head, preprocessing: Preprocessing, span: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(head.weight.clone(), requires_grad=False)
        self.bias = nn.Parameter(head.bias.clone(), requires_grad=False)
        self.preprocessing, self.span = preprocessing, span
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch.

        Args:
            x: Samples, shape (n, d).

        Returns:
            Logits, shape (n, k).
        """
        return _features(stretch(x, self.span), self.preprocessing) @ self.weight.T + self.bias


def _features(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    # ART preprocesses in the inputs' own type; its standardisation rounds to float32.
    return preprocessing(x.to(torch.promote_types(x.dtype, torch.float32))).flatten(1).to(torch.float64)
