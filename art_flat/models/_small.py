"""Small networks for digits and MNIST."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from .._utils.random import seeded_rng
from ..errors import InputError


def fcn(
    in_features: int = 784, hidden: Sequence[int] = (128, 64), nb_classes: int = 10, *, seed: int = 0
) -> nn.Sequential:
    """A fully connected network: flatten, then linear layers with ReLU between them.

    Args:
        in_features: Numbers in one input.
        hidden: Widths of the hidden layers; the last is the number d of features.
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, ...) with `in_features` numbers per sample to logits (n, k).

    Raises:
        InputError: If there is no hidden layer.

    >>> import torch
    >>> fcn()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if not hidden:
        raise InputError("`hidden` is empty; give the width of at least one hidden layer, such as (128, 64)")
    widths = (in_features, *hidden)
    with seeded_rng(seed):
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return _with_head(layers, widths[-1], nb_classes)


def mnist_cnn(
    input_shape: tuple[int, int, int] = (1, 28, 28), nb_classes: int = 10, *, seed: int = 0
) -> nn.Sequential:
    """Two 3×3 convolutions with max pooling, one hidden layer of 128 features, a linear head.

    Args:
        input_shape: (channels, height, width); at least 4×4 pixels.
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, *input_shape) to logits (n, k), with d = 128 features.

    Raises:
        InputError: If the input is not an image of at least 4×4 pixels.

    >>> mnist_cnn().head
    Linear(in_features=128, out_features=10, bias=True)
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < 4:
        raise InputError(
            f"mnist_cnn() needs images of shape (channels, height, width) with at least 4×4 pixels, "
            f"got {tuple(input_shape)}; use fcn() for other inputs"
        )
    channels, height, width = input_shape
    with seeded_rng(seed):
        layers = [
            *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * (height // 4) * (width // 4), 128), nn.ReLU()),
        ]
        return _with_head(layers, 128, nb_classes)


def digits_cnn(nb_classes: int = 10, *, seed: int = 0) -> nn.Sequential:
    """A CNN for scikit-learn's 8×8 digits: two 3×3 convolutions, one max pooling, 64 features.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 1, 8, 8) to logits (n, k), with d = 64 features.

    >>> digits_cnn().head.in_features
    64
    """
    with seeded_rng(seed):
        layers = [
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU()),
        ]
        return _with_head(layers, 64, nb_classes)


def _with_head(layers: list[nn.Module], nb_features: int, nb_classes: int) -> nn.Sequential:
    head = nn.Linear(nb_features, nb_classes)
    return nn.Sequential(OrderedDict[str, nn.Module](features=nn.Sequential(*layers), head=head))
