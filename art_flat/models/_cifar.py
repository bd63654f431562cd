"""CIFAR variants of common architectures: a 3×3 stem with stride 1 and no max pooling after it.

All map colour images (n, 3, h, w), usually 32×32, to logits (n, k); `width` scales every number of
channels. Submodules and parameter names are torchvision's where they exist.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import make_layers

from .._utils.numbers import check_number
from .._utils.random import seeded_rng


class _ResNet(nn.Module):
    """Four stages of two basic blocks each, with torchvision's parameter names."""

    def __init__(self, base: int, nb_classes: int) -> None:
        super().__init__()
        self.conv1 = convolution(3, base)
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU()
        self.layer1 = _stage(base, base, stride=1)
        self.layer2 = _stage(base, 2 * base, stride=2)
        self.layer3 = _stage(2 * base, 4 * base, stride=2)
        self.layer4 = _stage(4 * base, 8 * base, stride=2)
        self.fc = nn.Linear(8 * base, nb_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class _WideBlock(nn.Module):
    """Batch norm and ReLU before each of two 3×3 convolutions, with a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = convolution(before, after, stride=stride)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = convolution(after, after)
        self.shortcut = None if before == after else convolution(before, after, size=1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.bn1(x).relu()
        around = x if self.shortcut is None else self.shortcut(active)
        return around + self.conv2(self.bn2(self.conv1(active)).relu())  # type: ignore[no-any-return]


def resnet18(width: float = 1.0, nb_classes: int = 10, *, seed: int = 0) -> nn.Module:
    """ResNet-18 for CIFAR: 8·64·width features.

    Args:
        width: Factor on the number of channels, > 0.
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, h, w) to logits (n, k).

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016.

    >>> resnet18(width=0.125).fc
    Linear(in_features=64, out_features=10, bias=True)
    """
    with seeded_rng(seed):
        return initialise(_ResNet(_channels(64, width), nb_classes))


def wide_resnet28_4(width: float = 1.0, nb_classes: int = 10, *, seed: int = 0) -> nn.Module:
    """WideResNet-28-4: three groups of four pre-activation blocks, 256·width features, no dropout.

    Args:
        width: Factor on the number of channels after the stem, > 0; 2.5 gives WideResNet-28-10.
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, h, w) to logits (n, k).

    Source: Zagoruyko and Komodakis, "Wide residual networks", BMVC 2016.

    >>> sum(p.numel() for p in wide_resnet28_4().parameters())
    5849050
    """
    sizes = [16, *(_channels(base, width) for base in (64, 128, 256))]
    with seeded_rng(seed):
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=convolution(3, 16))
        for i in range(3):
            blocks = [_WideBlock(sizes[i], sizes[i + 1], stride=1 if i == 0 else 2)]
            blocks += [_WideBlock(sizes[i + 1], sizes[i + 1], stride=1) for _ in range(3)]
            layers[f"group{i + 1}"] = nn.Sequential(*blocks)
        layers["bn"] = nn.BatchNorm2d(sizes[-1])
        layers["relu"] = nn.ReLU()
        return initialise(_pooled(nn.Sequential(layers), sizes[-1], nb_classes))


def densenet121(width: float = 1.0, nb_classes: int = 10, *, seed: int = 0) -> nn.Module:
    """DenseNet-121 for CIFAR: torchvision's with growth rate 32·width, 1024 features at width 1.

    Args:
        width: Factor on the growth rate and the stem's channels, > 0.
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, h, w) to logits (n, k).

    Source: Huang et al., "Densely connected convolutional networks", CVPR 2017.

    >>> sum(p.numel() for p in densenet121().parameters())
    6956426
    """
    stem = _channels(64, width)
    with seeded_rng(seed):
        net: nn.Module = DenseNet(_channels(32, width), (6, 12, 24, 16), stem, num_classes=nb_classes)
        features = net.get_submodule("features")
        features.conv0 = initialise(convolution(3, stem))
        features.pool0 = nn.Identity()
    return net


def vgg11_bn(width: float = 1.0, nb_classes: int = 10, *, seed: int = 0) -> nn.Module:
    """VGG-11 with batch norm for CIFAR: torchvision's convolutions, one linear layer on 512·width features.

    Args:
        width: Factor on the number of channels, > 0.
        nb_classes: Number k of classes.
        seed: Seed of the initial weights; the caller's random state is unchanged.

    Returns:
        Network from (n, 3, h, w), at least 32×32 pixels, to logits (n, k).

    Source: Simonyan and Zisserman, "Very deep convolutional networks", ICLR 2015.

    >>> sum(p.numel() for p in vgg11_bn().parameters())
    9231114
    """
    sizes = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
    channels = [size if isinstance(size, str) else _channels(size, width) for size in sizes]
    with seeded_rng(seed):
        return initialise(_pooled(make_layers(channels, batch_norm=True), _channels(512, width), nb_classes))


def _channels(full: int, width: float) -> int:
    return max(1, round(full * check_number(width, "width", "share of the full width", above=0.0)))


def convolution(before: int, after: int, *, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)


def _stage(before: int, after: int, *, stride: int) -> nn.Sequential:
    around = None
    if stride != 1 or before != after:
        around = nn.Sequential(convolution(before, after, size=1, stride=stride), nn.BatchNorm2d(after))
    return nn.Sequential(BasicBlock(before, after, stride, around), BasicBlock(after, after))


def _pooled(features: nn.Module, nb_features: int, nb_classes: int) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](features=features)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(nb_features, nb_classes)
    return nn.Sequential(layers)


def initialise(net: nn.Module) -> nn.Module:
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return net
