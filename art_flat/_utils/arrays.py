"""Conversion between NumPy arrays and torch tensors; results have the type of the input."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .foreign_arrays import as_numbers, dense_real, torch_dtype_safe

if TYPE_CHECKING:
    from ..typing import Array


def to_numpy(value: Any) -> np.ndarray:
    """Any array, tensor, series or list as a NumPy array; copied only if necessary."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu().resolve_conj().resolve_neg()
        value = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
    return np.asarray(value)


def to_tensor(
    value: Any,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    read_only: bool = False,
    name: str = "",
) -> torch.Tensor:
    """Any array, tensor, series or list as a tensor; copied only if necessary.

    Args:
        value: The values.
        device: Target device; unchanged if None.
        dtype: Target dtype; unchanged if None.
        read_only: The tensor will not be written to, so that a read-only array (such as a memory-mapped
            file) need not be copied.
        name: Name of the argument, for errors.

    Returns:
        The tensor, on `device` and in `dtype` where they are given.

    Raises:
        InputError: If the values are not real numbers.
    """
    if not isinstance(value, torch.Tensor):
        array = as_numbers(value, name)
        if (
            not (array.flags.writeable or read_only)
            or any(s < 0 for s in array.strides)
            or not array.dtype.isnative
        ):
            array = np.array(array, dtype=array.dtype.newbyteorder("="))
        array = torch_dtype_safe(array)
        value = torch.from_numpy(array) if array.flags.writeable else _read_only_tensor(array)
    tensor = dense_real(value, name)
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        tensor = tensor.clone()  # autograd refuses tensors that were made in inference mode
    return tensor.to(device=device, dtype=dtype)


def _read_only_tensor(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def n_samples(value: Any) -> int:
    """The number of rows of any array, sparse matrix or list."""
    return int(value.shape[0]) if hasattr(value, "shape") else len(value)


def like(result: Array, source: Any) -> Array:
    """`result` as the same kind of array as `source`: a tensor on its device, or a NumPy array."""
    if isinstance(source, torch.Tensor):
        return to_tensor(result, device=source.device)
    return to_numpy(result)


def synchronize(device: torch.device) -> None:
    """Wait for pending work on an accelerator, so that timings include it."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
