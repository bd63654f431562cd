"""The residual networks of He et al., section 4.2: 20 to 56 layers for CIFAR.

Parameter names are those of the checkpoints that github.com/akamaster/pytorch_resnet_cifar10 publishes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .._utils.random import seeded_rng
from ._cifar import convolution, initialise


class _Block(nn.Module):
    """Two 3×3 convolutions with batch norm, around them a shortcut without parameters (option A).

    Where the shape changes, the shortcut takes every second pixel and pads channels of zeros on both sides.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = convolution(before, after, stride=1 if before == after else 2)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = convolution(after, after)
        self.bn2 = nn.BatchNorm2d(after)
        self.n_padded = (after - before) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.n_padded:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.n_padded, self.n_padded))
        return (residual + x).relu()  # type: ignore[no-any-return]


class _CifarResNet(nn.Module):
    """A stem, three stages of n blocks with 16, 32 and 64 channels, global average pooling, a linear head."""

    def __init__(self, n_blocks: int, nb_classes: int) -> None:
        super().__init__()
        self.conv1 = convolution(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, n_blocks)
        self.layer2 = _stage(16, 32, n_blocks)
        self.layer3 = _stage(32, 64, n_blocks)
        self.linear = nn.Linear(64, nb_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)).relu())))
        return self.linear(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def cifar_resnet20(nb_classes: int = 10, *, seed: int = 0) -> nn.Module:
    """ResNet-20 for CIFAR: three stages of 3 blocks, 0.27 million parameters, d = 64 features.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, h, w), with h and w even, to logits (n, k).

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    >>> sum(p.numel() for p in cifar_resnet20().parameters())
    269722
    """
    return _cifar_resnet(3, nb_classes, seed)


def cifar_resnet32(nb_classes: int = 10, *, seed: int = 0) -> nn.Module:
    """ResNet-32 for CIFAR: as `cifar_resnet20` with 5 blocks a stage, 0.46 million parameters.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, h, w), with h and w even, to logits (n, k).

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    >>> len(cifar_resnet32().layer1)
    5
    """
    return _cifar_resnet(5, nb_classes, seed)


def cifar_resnet44(nb_classes: int = 10, *, seed: int = 0) -> nn.Module:
    """ResNet-44 for CIFAR: as `cifar_resnet20` with 7 blocks a stage, 0.66 million parameters.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, h, w), with h and w even, to logits (n, k).

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    >>> len(cifar_resnet44().layer1)
    7
    """
    return _cifar_resnet(7, nb_classes, seed)


def cifar_resnet56(nb_classes: int = 10, *, seed: int = 0) -> nn.Module:
    """ResNet-56 for CIFAR: as `cifar_resnet20` with 9 blocks a stage, 0.85 million parameters.

    Args:
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, h, w), with h and w even, to logits (n, k).

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    >>> len(cifar_resnet56().layer1)
    9
    """
    return _cifar_resnet(9, nb_classes, seed)


def _cifar_resnet(n_blocks: int, nb_classes: int, seed: int) -> nn.Module:
    with seeded_rng(seed):
        return initialise(_CifarResNet(n_blocks, nb_classes))


def _stage(before: int, after: int, n_blocks: int) -> nn.Sequential:
    return nn.Sequential(_Block(before, after), *(_Block(after, after) for _ in range(n_blocks - 1)))
