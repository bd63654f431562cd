"""Conversion of third-party arrays to numeric NumPy arrays, with an error that names the argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from ..errors import InputError

_WIDER = {np.dtype(f"uint{bits}"): np.dtype("int64") for bits in (16, 32, 64)}
"""Unsigned types with limited support in torch."""


def as_numbers(value: Any, name: str = "") -> np.ndarray:
    """An array, list, sparse matrix, data frame, series or Arrow table as a NumPy array of real numbers.

    Args:
        value: The numbers; sparse arrays become dense.
        name: Name of the argument, for errors.

    Returns:
        The array, of kind bool, int or float; the same memory where that is possible.

    Raises:
        InputError: If `value` does not hold real numbers, or is a loader or an iterator.
    """
    expected = f"`{name}` must be an array of numbers" if name else "expected an array of numbers"
    _refuse_batches(value, name or "x")
    if value is None or np.ma.is_masked(value):
        raise InputError(
            f"{expected}, got {'None' if value is None else 'masked values; fill them, or leave them out'}"
        )
    try:
        array = np.asarray(value.toarray() if _is_sparse(value) else value)
        if array.dtype == object and hasattr(value, "to_numpy"):
            dtype = _common_dtype(value)
            array = value.to_numpy(dtype=dtype, **({"na_value": np.nan} if dtype.kind == "f" else {}))
        if array.dtype == object:  # of numbers, as where columns have several types
            array = np.array(array.tolist())
    except MemoryError as error:
        raise InputError(f"{expected} that fits into memory when it is dense: {error}") from None
    except (ValueError, TypeError) as error:
        if (text := _first_text(value)) is not None:
            raise InputError(_text_message(expected, text, name)) from None
        raise InputError(f"{expected}: {error}; all samples must have one shape") from None
    if array.dtype.kind in "biuf":
        return array
    # of `value` first: where numbers stand beside text, the array has made text of them
    text = _first_text(value) or _first_text(array)
    if text is not None:
        raise InputError(_text_message(expected, text, name))
    advice = "; all samples must have one shape" if array.dtype == object else ""
    raise InputError(f"{expected}, got {array.dtype} with shape {array.shape}{advice}")


def torch_dtype_safe(array: np.ndarray) -> np.ndarray:
    """The array in a dtype supported by torch: unsigned integers become int64, long doubles float64."""
    if array.dtype in _WIDER:
        return array.astype(_WIDER[array.dtype])
    return array.astype(np.float64) if array.dtype == np.longdouble != np.float64 else array


def dense_real(tensor: torch.Tensor, name: str = "") -> torch.Tensor:
    """A dense tensor of real numbers in a dtype with full support in torch.

    Args:
        tensor: The numbers; sparse tensors become dense.
        name: Name of the argument, for errors.

    Returns:
        The tensor.

    Raises:
        InputError: If the numbers are complex.
    """
    if tensor.is_complex():
        raise InputError(
            f"{f'`{name}`' if name else 'the tensor'} must hold real numbers, got {tensor.dtype}"
        )
    dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
    return dense.to(torch.int64) if dense.dtype in {torch.uint16, torch.uint32, torch.uint64} else dense


def is_batches(value: Any) -> bool:
    """Whether a value yields batches or samples, as a `DataLoader` or a generator does."""
    if isinstance(value, (torch.utils.data.DataLoader, torch.utils.data.Dataset)):
        return True
    return isinstance(value, Iterable) and not hasattr(value, "__len__") and not hasattr(value, "__array__")


def _refuse_batches(value: Any, name: str) -> None:
    if is_batches(value):
        raise InputError(
            f"`{name}` is a {type(value).__name__}, not an array; stack its batches first: "
            "x, y = art_flat.datasets.stack_batches(loader)"
        )


def _is_sparse(value: Any) -> bool:
    return hasattr(value, "toarray") and hasattr(value, "nnz")


def _common_dtype(frame: Any) -> np.dtype:
    """The NumPy type that holds every column of a data frame or series of extension types."""
    columns = list(frame.dtypes) if hasattr(frame, "columns") else [frame.dtype]
    if bool(np.any(frame.isna())):
        return np.dtype(np.float64)
    return np.result_type(*(getattr(dtype, "numpy_dtype", dtype) for dtype in columns))


def _first_text(value: Any) -> str | None:
    flat = np.asarray(value, dtype=object).ravel() if not isinstance(value, np.ndarray) else value.ravel()
    return next((str(entry) for entry in flat[:1000] if isinstance(entry, (str, bytes))), None)


def _text_message(expected: str, text: str, name: str) -> str:
    labels = "for labels, pass class indices: sklearn.preprocessing.LabelEncoder().fit_transform(labels)"
    advice = "encode text as numbers, as the model expects it" if name == "x" else labels
    return f"{expected}, got text such as {text!r}; {advice}"
