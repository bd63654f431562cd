"""Example networks, their weights, and `torch_classifier` for ART.

Every builder returns an `nn.Module` from inputs (n, ...) to logits (n, k) whose last layer is linear.
"""

from ._cifar import densenet121 as densenet121
from ._cifar import resnet18 as resnet18
from ._cifar import vgg11_bn as vgg11_bn
from ._cifar import wide_resnet28_4 as wide_resnet28_4
from ._cifar_resnets import cifar_resnet20 as cifar_resnet20
from ._cifar_resnets import cifar_resnet32 as cifar_resnet32
from ._cifar_resnets import cifar_resnet44 as cifar_resnet44
from ._cifar_resnets import cifar_resnet56 as cifar_resnet56
from ._factory import as_classifier as as_classifier
from ._factory import build as build
from ._small import digits_cnn as digits_cnn
from ._small import fcn as fcn
from ._small import mnist_cnn as mnist_cnn
from ._verification import cifar_base as cifar_base
from ._verification import cifar_resnet2b as cifar_resnet2b
from ._verification import cifar_resnet4b as cifar_resnet4b
from ._verification import cnn_a as cnn_a
from ._verification import conv_small as conv_small
from ._verification import mnist_6x100 as mnist_6x100
from ._verification import mnist_lenet5 as mnist_lenet5
from ._weights import load_weights as load_weights
from ._weights import save_weights as save_weights

__all__ = [
    "as_classifier",
    "build",
    "cifar_base",
    "cifar_resnet2b",
    "cifar_resnet4b",
    "cifar_resnet20",
    "cifar_resnet32",
    "cifar_resnet44",
    "cifar_resnet56",
    "cnn_a",
    "conv_small",
    "densenet121",
    "digits_cnn",
    "fcn",
    "load_weights",
    "mnist_6x100",
    "mnist_cnn",
    "mnist_lenet5",
    "resnet18",
    "save_weights",
    "vgg11_bn",
    "wide_resnet28_4",
]
