"""The public nets of the tests: their factories, normalisation and accuracy, as published or measured elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from art_flat import models

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WONG_KOLTER = ((0.485, 0.456, 0.406), (0.225, 0.225, 0.225))
SDP = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
VNN_COMP = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
NONE = (None, None)


@dataclass(frozen=True)
class PublicNet:
    """A file of weights: what it is loaded into, and its share of correct genuine test images (1,017 or 10,000)."""

    factory: Callable[..., nn.Module]
    shape: tuple[int, int, int]
    normalisation: tuple[object, object]
    accuracy: float

    def make(self, **options: object) -> nn.Module:
        takes_shape = self.factory in {models.cnn_a, models.conv_small}
        return self.factory(*([self.shape] if takes_shape else []), **options)


NETS = {
    "resnet20": PublicNet(models.cifar_resnet20, CIFAR, IMAGENET, 0.916),
    "resnet32": PublicNet(models.cifar_resnet32, CIFAR, IMAGENET, 0.928),
    "resnet44": PublicNet(models.cifar_resnet44, CIFAR, IMAGENET, 0.934),
    "resnet56": PublicNet(models.cifar_resnet56, CIFAR, IMAGENET, 0.927),
    "mnist_lenet5": PublicNet(models.mnist_lenet5, MNIST, NONE, 0.989),
    "mnist_lenet5_adversarial": PublicNet(models.mnist_lenet5, MNIST, NONE, 0.986),
    "mnist_cnn_a_adversarial": PublicNet(models.cnn_a, MNIST, NONE, 0.963),
    "mnist_wong_kolter_01": PublicNet(models.cnn_a, MNIST, NONE, 0.982),
    "mnist_wong_kolter_03": PublicNet(models.cnn_a, MNIST, NONE, 0.852),
    "mnist_conv_small": PublicNet(models.conv_small, MNIST, (0.1307, 0.3081), 0.983),
    "mnist_6x100": PublicNet(models.mnist_6x100, MNIST, NONE, 0.963),
    "cifar_cnn_a_adversarial": PublicNet(models.cnn_a, CIFAR, SDP, 0.706),
    "cifar_cnn_a_mix": PublicNet(models.cnn_a, CIFAR, SDP, 0.778),
    "cifar_wong_kolter_8": PublicNet(models.cnn_a, CIFAR, WONG_KOLTER, 0.312),
    "cifar_wong_kolter_l2": PublicNet(models.cnn_a, CIFAR, WONG_KOLTER, 0.554),
    "cifar_base_wong_kolter": PublicNet(models.cifar_base, CIFAR, WONG_KOLTER, 0.612),
    "cifar_conv_small_pgd": PublicNet(models.conv_small, CIFAR, SDP, 0.632),
    "cifar_resnet2b": PublicNet(models.cifar_resnet2b, CIFAR, VNN_COMP, 0.704),
    "cifar_resnet4b": PublicNet(models.cifar_resnet4b, CIFAR, VNN_COMP, 0.773),
}
