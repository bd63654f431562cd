"""Small networks with published weights from the verification literature, with the parameter names of those files."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn

from .._utils.random import seeded_rng
from ..errors import InputError


class _Block(nn.Module):
    """Two 3×3 convolutions without batch norm, and a 1×1 convolution on the shortcut where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        changes = stride != 1 or before != after
        self.shortcut = nn.Sequential(*([nn.Conv2d(before, after, 1, stride=stride)] if changes else []))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.conv2(self.conv1(x).relu()) + self.shortcut(x)).relu()  # type: ignore[no-any-return]


def mnist_lenet5(nb_classes: int = 10, *, seed: int = 0) -> nn.Sequential:
    """The LeNet-5 of advertorch: two 3×3 convolutions of 32 and 64 channels, max pooling, d = 200 features.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 1, 28, 28) to logits (n, k).

    Source: Ding et al., "advertorch v0.1", 2019, after LeCun et al., "Gradient-based learning applied to document
    recognition", 1998.

    >>> mnist_lenet5().linear2
    Linear(in_features=200, out_features=10, bias=True)
    """
    with seeded_rng(seed):
        layers = {
            **{"conv1": nn.Conv2d(1, 32, 3, padding=1), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2)},
            **{"conv2": nn.Conv2d(32, 64, 3, padding=1), "relu2": nn.ReLU(), "pool2": nn.MaxPool2d(2)},
            **{"flatten": nn.Flatten(), "linear1": nn.Linear(64 * 7 * 7, 200), "relu3": nn.ReLU()},
            "linear2": nn.Linear(200, nb_classes),
        }
        return nn.Sequential(OrderedDict[str, nn.Module](layers))


def cnn_a(
    input_shape: tuple[int, int, int] = (3, 32, 32), nb_classes: int = 10, *, seed: int = 0
) -> nn.Sequential:
    """CNN A, the network of Wong and Kolter: 4×4 convolutions of stride 2 with 16 and 32 channels, d = 100 features.

    Args:
        input_shape: (channels, height, width); at least 4×4 pixels.
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, *input_shape) to logits (n, k).

    Raises:
        InputError: If the input is not an image of at least 4×4 pixels.

    Source: Wong and Kolter, "Provable defenses against adversarial examples via the convex outer adversarial polytope",
    ICML 2018; named CNN-A by Dathathri et al., "Enabling certification of verification-agnostic networks via
    memory-efficient semidefinite programming", NeurIPS 2020.

    >>> cnn_a((1, 28, 28))[5]
    Linear(in_features=1568, out_features=100, bias=True)
    """
    return _two_convolutions("cnn_a", input_shape, (16, 32), 1, nb_classes, seed)


def conv_small(
    input_shape: tuple[int, int, int] = (3, 32, 32), nb_classes: int = 10, *, seed: int = 0
) -> nn.Sequential:
    """ConvSmall of ERAN: as `cnn_a` without padding.

    Args:
        input_shape: (channels, height, width); at least 10×10 pixels.
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, *input_shape) to logits (n, k).

    Raises:
        InputError: If the input is not an image of at least 10×10 pixels.

    Source: Singh et al., "Fast and effective robustness certification", NeurIPS 2018.

    >>> conv_small((1, 28, 28))[5]
    Linear(in_features=800, out_features=100, bias=True)
    """
    return _two_convolutions("conv_small", input_shape, (16, 32), 0, nb_classes, seed)


def cifar_base(nb_classes: int = 10, *, seed: int = 0) -> nn.Sequential:
    """The base network of OVAL: as `cnn_a` with 8 and 16 channels.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, 32, 32) to logits (n, k).

    Source: Lu and Kumar, "Neural network branching for neural network verification", ICLR 2020.

    >>> cifar_base()[5]
    Linear(in_features=1024, out_features=100, bias=True)
    """
    return _two_convolutions("cifar_base", (3, 32, 32), (8, 16), 1, nb_classes, seed)


def mnist_6x100(nb_classes: int = 10, *, seed: int = 0) -> nn.Sequential:
    """The 6x100 network of ERAN: flatten, then six linear layers with ReLU between them, d = 100 features.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, ...) with 784 numbers per sample to logits (n, k).

    Source: Singh et al., "An abstract domain for certifying neural networks", POPL 2019.

    >>> mnist_6x100()[11]
    Linear(in_features=100, out_features=10, bias=True)
    """
    with seeded_rng(seed):
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise((784, *[100] * 5)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(100, nb_classes))


def cifar_resnet2b(nb_classes: int = 10, *, seed: int = 0) -> nn.Sequential:
    """ResNet-2B of VNN-COMP 2021: one stage of two residual blocks without batch norm, d = 100 features.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, 32, 32) to logits (n, k).

    Source: Bak et al., "The second international verification of neural networks competition", 2021.

    >>> cifar_resnet2b().linear1
    Linear(in_features=1024, out_features=100, bias=True)
    """
    with seeded_rng(seed):
        return _residual(8, (16,), 16 * 8 * 8, nb_classes)


def cifar_resnet4b(nb_classes: int = 10, *, seed: int = 0) -> nn.Sequential:
    """ResNet-4B of VNN-COMP 2021: two stages of two residual blocks without batch norm, d = 100 features.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, 32, 32) to logits (n, k).

    Source: Bak et al., "The second international verification of neural networks competition", 2021.

    >>> cifar_resnet4b().linear1
    Linear(in_features=512, out_features=100, bias=True)
    """
    with seeded_rng(seed):
        return _residual(16, (32, 32), 32 * 4 * 4, nb_classes)


def _two_convolutions(
    name: str,
    input_shape: tuple[int, ...],
    channels: tuple[int, int],
    padding: int,
    nb_classes: int,
    seed: int,
) -> nn.Sequential:
    smallest = 4 if padding else 10
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise InputError(
            f"{name}() needs images of shape (channels, height, width) with at least {smallest}×{smallest} pixels, "
            f"got {tuple(input_shape)}; use fcn() for other inputs"
        )
    height, width = (_halved(_halved(size, padding), padding) for size in input_shape[1:])
    with seeded_rng(seed):
        return nn.Sequential(
            *(nn.Conv2d(input_shape[0], channels[0], 4, stride=2, padding=padding), nn.ReLU()),
            *(nn.Conv2d(channels[0], channels[1], 4, stride=2, padding=padding), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(channels[1] * height * width, 100), nn.ReLU()),
            nn.Linear(100, nb_classes),
        )


def _halved(size: int, padding: int) -> int:
    """The size after a convolution of kernel 4 and stride 2."""
    return (size + 2 * padding - 4) // 2 + 1


def _residual(stem: int, stages: tuple[int, ...], nb_flat: int, nb_classes: int) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](conv1=nn.Conv2d(3, stem, 3, stride=2, padding=1), relu=nn.ReLU())
    for i, (before, after) in enumerate(pairwise((stem, *stages)), 1):
        layers[f"layer{i}"] = nn.Sequential(_Block(before, after, stride=2), _Block(after, after, stride=1))
    layers["flatten"] = nn.Flatten()
    layers["linear1"] = nn.Linear(nb_flat, 100)
    layers["relu1"] = nn.ReLU()
    layers["linear2"] = nn.Linear(100, nb_classes)
    return nn.Sequential(layers)
