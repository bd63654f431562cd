"""Fully connected layers stored as arrays, evaluated in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ._network import stretch
from ._preprocessing import Preprocessing
from .base import Head, Outputs

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
"""scikit-learn's activation functions."""


class Layers(NamedTuple):
    """Hidden layers, their activation function, and the head."""

    hidden: Sequence[tuple[Tensor, Tensor]]
    """Weight (width, inputs) and bias (width,) of each."""
    activation: str
    head: Head

    def __call__(self, x: Tensor) -> Outputs:
        """Logits and features.

        Args:
            x: Preprocessed inputs, float64, shape (n, inputs).

        Returns:
            Both, with a graph if gradients are enabled.
        """
        activation = ACTIVATIONS[self.activation]()
        for weight, bias in self.hidden:
            x = activation(x @ weight.T + bias)
        return Outputs(x @ self.head.weight.T + self.head.bias, x)

    def extractor(self) -> nn.Module:
        """The layers before the head, from inputs (n, ...) to features (n, d), as torch modules."""
        parts: list[nn.Module] = [nn.Flatten()]
        for weight, bias in self.hidden:
            parts += [_linear(weight, bias), ACTIVATIONS[self.activation]()]
        return nn.Sequential(*parts)

    def as_sequential(self) -> nn.Module:
        """All layers, from inputs (n, ...) to logits (n, k), as torch modules."""
        return nn.Sequential(self.extractor(), _linear(self.head.weight, self.head.bias))


class Perceptron(nn.Module):
    """Module from inputs in clip units to logits in float64.

    Args:
        layers: The layers; they are copied.
        preprocessing: Preprocessing before the layers.
        span: Smallest and largest input, to rescale inputs from [0, 1]; None for inputs in clip units.
    """

    def __init__(
        self, layers: Layers, preprocessing: Preprocessing, span: tuple[Tensor, Tensor] | None
    ) -> None:
        super().__init__()
        self.weights = nn.ParameterList(_fixed(weight) for weight, _ in layers.hidden)
        self.biases = nn.ParameterList(_fixed(bias) for _, bias in layers.hidden)
        self.weight, self.bias = _fixed(layers.head.weight), _fixed(layers.head.bias)
        self.activation, self.name = layers.activation, layers.head.name
        self.preprocessing, self.span = preprocessing, span
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch.

        Args:
            x: Samples, shape (n, d).

        Returns:
            Logits, shape (n, k).
        """
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Outputs:
        """Logits and features of a batch, with a graph if gradients are enabled.

        Args:
            x: Samples, shape (n, d).

        Returns:
            Logits (n, k) and features (n, width).
        """
        hidden = list(zip(self.weights, self.biases, strict=True))
        layers = Layers(hidden, self.activation, Head(self.weight, self.bias, self.name))
        return layers(flat(stretch(x, self.span), self.preprocessing))


def flat(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Inputs of scikit-learn's models.

    ART preprocesses in the inputs' own type; its standardisation rounds to float32.

    Args:
        x: Samples in clip units, shape (n, ...).
        preprocessing: Preprocessing before the model.

    Returns:
        Rows, float64, shape (n, d).
    """
    return preprocessing(x.to(torch.promote_types(x.dtype, torch.float32))).flatten(1).to(torch.float64)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    linear.weight, linear.bias = _fixed(weight), _fixed(bias)
    return linear


def _fixed(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone(), requires_grad=False)
