"""Networks to try things on, their weights, and the way from a network to an ART classifier.

Every builder returns an `nn.Module` from inputs (n, ...) to logits (n, k) whose last layer is linear.
"""

from ._cifar import densenet121 as densenet121
from ._cifar import resnet18 as resnet18
from ._cifar import vgg11_bn as vgg11_bn
from ._cifar import wide_resnet28_4 as wide_resnet28_4
from ._factory import as_classifier as as_classifier
from ._factory import build as build
from ._small import digits_cnn as digits_cnn
from ._small import fcn as fcn
from ._small import mnist_cnn as mnist_cnn
from ._weights import load_weights as load_weights
from ._weights import save_weights as save_weights

__all__ = [
    "as_classifier",
    "build",
    "densenet121",
    "digits_cnn",
    "fcn",
    "load_weights",
    "mnist_cnn",
    "resnet18",
    "save_weights",
    "vgg11_bn",
    "wide_resnet28_4",
]
