"""Preparation of inputs, as in attacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .._utils.validation import check_inputs
from ..adapters.base import Adapter

if TYPE_CHECKING:
    from ..typing import Array


def prepared(net: Adapter, x: Array) -> torch.Tensor:
    """Inputs on the model's device and in its dtype, clipped where rounding left the range.

    Args:
        net: The adapted classifier.
        x: Samples, shape (n, ...).

    Returns:
        The samples.

    Raises:
        InputError: If `x` has another shape, NaN, or lies outside `clip_values`.
    """
    inputs = check_inputs(
        x, input_shape=net.input_shape, clip_values=net.clip_values, feature_names=net.feature_names
    )
    inputs = inputs.detach().to(net.device, net.dtype)
    if net.clip_values is None:
        return inputs
    low, high = (torch.as_tensor(np.asarray(v)).to(inputs) for v in net.clip_values)
    return torch.minimum(torch.maximum(inputs, low), high)
