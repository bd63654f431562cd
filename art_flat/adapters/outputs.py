"""Return types of an adapter: the head, the outputs of a forward pass, bounds over balls, and counts of passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UnsupportedEstimatorError

if TYPE_CHECKING:
    from ..typing import Array


@dataclass(frozen=True)
class Head:
    """The last linear layer, z = W φ + b, of the logits in the loss.

    Attributes:
        weight: W, shape (k, d), including every factor between the layer and the logits.
        bias: b, shape (k,), zeros where the layer has none.
        name: Name of the layer in the model.
        scale: The factor T > 0 by which the model multiplies the layer's output.
    """

    weight: Tensor
    bias: Tensor
    name: str
    scale: float = 1.0

    @classmethod
    def from_layer(cls, weight: Tensor, bias: Tensor | None, name: str, scale: float = 1.0) -> Head:
        """The head of a layer; a logistic one (one row w) becomes the two rows ±w/2 of the same softmax.

        Args:
            weight: The layer's weight, shape (k, d) or (1, d).
            bias: The layer's bias, shape (k,) or (1,), or None.
            name: Name of the layer in the model.
            scale: The factor T > 0 by which the model multiplies the layer's output.

        Returns:
            A head with k ≥ 2; it shares the layer's memory if possible.

        >>> Head.from_layer(torch.tensor([[4.0, 6.0]]), None, "fc").weight
        tensor([[-2., -3.],
                [ 2.,  3.]])
        """
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        if scale != 1:
            weight, bias = weight * scale, bias * scale
        if len(weight) == 1:
            weight, bias = torch.cat([-weight / 2, weight / 2]), torch.cat([-bias / 2, bias / 2])
        return cls(weight, bias, name, scale)

    @property
    def nb_classes(self) -> int:
        """The number of classes k."""
        return int(self.weight.shape[0])

    @property
    def nb_features(self) -> int:
        """The number of features d."""
        return int(self.weight.shape[1])


class Outputs(NamedTuple):
    """The outputs of one forward pass: tensors on the adapter's device, without a graph."""

    logits: Tensor
    """z, shape (n, k)."""
    features: Tensor
    """φ, shape (n, d)."""


@dataclass(frozen=True)
class InputBallBounds:
    """Certified bounds of every sample over its ball, in the same kind of array as the samples."""

    loss_increase: Array
    """Upper bounds on the largest loss increase, ≥ 0, nats, float64, shape (n,); NaN or +inf without a bound."""
    worst_margin: Array
    """Upper bounds on the largest max_{j≠y} z_j − z_y, logits, float64, shape (n,)."""

    @property
    def label_kept(self) -> Array:
        """Whether the label y is certified to be predicted in the whole ball, bool, shape (n,)."""
        is_certified: Array = self.worst_margin < 0
        return is_certified


@dataclass
class Passes:
    """Number of samples passed through the head, forward and backward; NaN if it cannot be counted."""

    forwards: float = 0
    backwards: float = 0


def clip_pair(clip_values: Any, input_shape: tuple[int, ...]) -> tuple[Any, Any] | None:
    """ART's clip values as two floats, or as two arrays where they differ between features.

    Args:
        clip_values: A pair of numbers or arrays, an array with two rows, or None.
        input_shape: Shape of one sample, to which arrays must broadcast.

    Returns:
        Smallest and largest input, or None.

    Raises:
        UnsupportedEstimatorError: If arrays do not broadcast to the inputs, or a value is NaN.

    >>> clip_pair(np.array([0, 255], dtype=np.float32), (3, 8, 8))
    (0.0, 255.0)
    >>> clip_pair((np.zeros((3, 1, 1)), np.ones((3, 1, 1))), (3, 8, 8))
    (0.0, 1.0)
    """
    if clip_values is None:
        return None
    low, high = (_one_limit(np.asarray(v), input_shape) for v in clip_values)
    if any(np.isnan(limit).any() for limit in (low, high)):
        raise UnsupportedEstimatorError(
            "the classifier's clip_values are NaN; give it the smallest and largest input, or None"
        )
    if all((limit == limit.flat[0]).all() for limit in (low, high)):
        return float(low.flat[0]), float(high.flat[0])
    return low, high


def _one_limit(limit: np.ndarray, input_shape: tuple[int, ...]) -> np.ndarray:
    if limit.shape[:1] == (1,) and limit.ndim == len(input_shape) + 1:
        limit = limit[0]  # an axis of the samples
    try:
        np.broadcast_to(limit, input_shape)
    except ValueError:
        per_channel = (input_shape[0], *[1] * (len(input_shape) - 1))
        raise UnsupportedEstimatorError(
            f"the classifier's clip_values have the shape {limit.shape}, which does not broadcast to an input of shape "
            f"{input_shape}; give two numbers, one value per channel as {per_channel}, or arrays of that shape"
        ) from None
    return limit
