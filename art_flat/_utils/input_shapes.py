"""Checks of the shape and dtype of inputs that do not read their values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import InputError


def check_input_shape(shape: tuple[int, ...], input_shape: Sequence[int] | None, name: str = "x") -> None:
    """Check the shape of inputs: at least one sample, of the shape expected.

    Args:
        shape: Shape of the inputs, (n, ...).
        input_shape: Shape of one sample; not checked if None.
        name: Name of the argument, for errors.

    Raises:
        InputError: If there is no sample, or samples have another shape or no features.
    """
    if input_shape is not None:
        expected = tuple(input_shape)
        if shape == expected:
            raise InputError(f"`{name}` is one sample of shape {shape}; pass a batch: {name}[None]")
        if shape[1:] != expected or len(shape) != len(expected) + 1:
            raise InputError(f"`{name}` must have shape (n, {', '.join(map(str, expected))}), got {shape}")
    elif len(shape) < 2:
        raise InputError(f"`{name}` must have shape (n, ...), got {shape}")
    if shape[0] == 0:
        raise InputError(f"`{name}` has no samples; pass at least one")
    if math.prod(shape) == 0:
        raise InputError(f"`{name}` has samples without features, shape {shape}")


def check_columns(x: Any, feature_names: Sequence[str] | None, name: str = "x") -> None:
    """Check that a data frame has the columns that the model was fitted on, in their order.

    Args:
        x: Inputs; only data frames with named columns are checked, as in scikit-learn.
        feature_names: The columns; not checked if None.
        name: Name of the argument, for errors.

    Raises:
        InputError: If columns differ, or their order does.
    """
    columns = list(getattr(x, "columns", []))
    if feature_names is None or not columns or not all(isinstance(c, str) for c in columns):
        return
    expected = list(feature_names)
    if columns != expected:
        kind = "the columns in another order" if sorted(columns) == sorted(expected) else "other columns"
        raise InputError(
            f"`{name}` has {kind} than the data that the model was fitted on; "
            f"pass {name}[list(model.feature_names_in_)]"
        )
