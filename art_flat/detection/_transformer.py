"""A scikit-learn transformer from inputs to the factors of the relative sharpness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from .._utils.arrays import to_numpy, to_tensor
from .._utils.validation import check_definition, check_inputs
from ..adapters import Adapter, adapt
from ..adapters.base import Outputs
from ..errors import InputError, UnknownNameError
from ..functional.factors import COLUMNS as COLUMNS
from ..functional.factors import sharpness_factors
from ..typing import Definition

FLOOR = -1e5
"""Replacement of −inf, the logarithm of an exact 0; other logarithms of finite logits are far above it."""


class SharpnessTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Inputs to the logarithms of the factors of κ = ‖φ‖² G ‖W‖_F², and of κ itself.

    `fit` only validates. The classifier is shared with clones, not copied; pickling pickles it
    in ART's way, and raises an error if an adapter was passed.

    Args:
        classifier: An ART classifier, or an adapted one.
        definition: Definition of κ: `"paper"`, `"neuronwise"` or `"unsquared"`.
        columns: A subset of `COLUMNS`, in this order; all if None.
        batch_size: Samples per forward pass; chosen from the sample's size if None.

    >>> import art_flat as af, numpy as np
    >>> from art_flat.models import as_classifier, fcn
    >>> classifier = as_classifier(fcn(4, (8,), 3), input_shape=(4,), nb_classes=3)
    >>> transformer = SharpnessTransformer(classifier)
    >>> x = np.linspace(0, 1, 20, dtype=np.float32).reshape(5, 4)
    >>> factors = transformer.fit_transform(x)
    >>> factors.shape, np.allclose(factors @ [2, 1, 2, -1], 0)   # the factors make up log κ
    ((5, 4), True)
    """

    def __init__(
        self,
        classifier: Any,
        *,
        definition: Definition = "paper",
        columns: Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.classifier = classifier
        self.definition = definition
        self.columns = columns
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> SharpnessTransformer:
        """Check that the classifier, the parameters and the samples can be used.

        Args:
            X: Samples, shape (n, *input_shape), or with each sample as one row.
            y: Ignored.

        Returns:
            The transformer itself.
        """
        check_columns(self.columns)
        check_definition(self.definition)
        _samples(X, adapt(self.classifier))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The factors, one row per sample.

        Args:
            X: Samples, shape (n, *input_shape), or with each sample as one row.

        Returns:
            Natural logarithms in the order of `columns`, float64, shape (n, len(columns)), ≥ `FLOOR`; NaN
            where the outputs of the classifier are NaN.

        Raises:
            InputError: If the samples do not fit the classifier, or a parameter is invalid.
        """
        net, columns = adapt(self.classifier), check_columns(self.columns)
        outputs = net.outputs(_samples(X, net), batch_size=self.batch_size)
        return factors(net, outputs, self.definition)[:, [COLUMNS.index(c) for c in columns]]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of the columns.

        Args:
            input_features: Ignored.

        Returns:
            Names, shape (len(columns),).
        """
        return np.array(check_columns(self.columns), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> SharpnessTransformer:
        return type(self)(**self.get_params(deep=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.no_validation = True  # the adapter validates shapes and values
        return tags


def check_columns(columns: Sequence[str] | None) -> tuple[str, ...]:
    """The requested columns, validated.

    Args:
        columns: Some of `COLUMNS`; all if None.

    Returns:
        The names.

    Raises:
        UnknownNameError: If one does not exist.
        InputError: If there is none.
    """
    names = COLUMNS if columns is None else tuple(columns)
    for name in names:
        if name not in COLUMNS:
            raise UnknownNameError("column", name, COLUMNS)
    if not names:
        raise InputError(f"`columns` is empty; name at least one of {', '.join(COLUMNS)}")
    return names


def factors(net: Adapter, outputs: Outputs, definition: Definition) -> np.ndarray:
    """All `COLUMNS` from the outputs of a forward pass.

    Args:
        net: The adapted classifier.
        outputs: Logits (n, k) and features (n, d).
        definition: Definition of the relative sharpness κ.

    Returns:
        Natural logarithms, float64, shape (n, 4), ≥ `FLOOR`.
    """
    table = sharpness_factors(*outputs, net.head.weight, definition=definition)
    return to_numpy(table.clamp(min=FLOOR))


def _samples(X: Any, net: Adapter) -> Any:
    # Rows of a flat table, as in scikit-learn, in the input shape of the classifier
    x = to_tensor(X)
    if x.ndim == 2 and len(net.input_shape) != 1 and x.shape[1] == math.prod(net.input_shape):
        x = x.reshape(-1, *net.input_shape)
    return check_inputs(x, input_shape=net.input_shape, clip_values=net.clip_values)
