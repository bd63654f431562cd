"""Models and data that several benchmarks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import art_flat as af
from art_flat.models import as_classifier, load_weights, mnist_cnn, resnet18
from art_flat.training import train

from ._harness import Settings


def resnet(settings: Settings, batch: int) -> tuple[nn.Module, Any, torch.Tensor, torch.Tensor]:
    """ResNet-18 with random weights on 3×32×32: model, adapted classifier, inputs and labels."""
    torch.manual_seed(0)
    n = settings.size(batch, 4)
    model = resnet18().eval()
    net = af.adapt(as_classifier(model, input_shape=(3, 32, 32), nb_classes=10))
    return model, net, torch.rand(n, 3, 32, 32), torch.randint(0, 10, (n,))


def small_cnn(settings: Settings, batch: int) -> tuple[nn.Module, Any, torch.Tensor, torch.Tensor]:
    """The MNIST CNN (d = 128, k = 10) with random weights on 1×28×28."""
    torch.manual_seed(0)
    n = settings.size(batch, 8)
    model = mnist_cnn().eval()
    net = af.adapt(as_classifier(model, input_shape=(1, 28, 28), nb_classes=10))
    return model, net, torch.rand(n, 1, 28, 28), torch.randint(0, 10, (n,))


def trained(settings: Settings, n: int) -> tuple[nn.Module, Any, Any, Any, str]:
    """A trained CNN and n test images: MNIST where it is at hand, scikit-learn's digits elsewhere."""
    n = settings.size(n, 20)
    if settings.quick or not (settings.data / "MNIST").is_dir():
        data, title = af.load_dataset("digits", split="train"), "digits"
        test = af.load_dataset("digits", split="test", n=n)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 64, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )
    else:
        data, title = af.load_dataset("mnist", root=settings.data, split="train"), "MNIST"
        test = af.load_dataset("mnist", root=settings.data, n=n)
        model = mnist_cnn()
    saved = Path(__file__).resolve().parents[1] / "mnist" / "cnn.safetensors"
    if title == "MNIST" and saved.exists():
        load_weights(model, saved)
    else:
        train(model, data.x, data.y, epochs=1, seed=0)
    model.eval()
    net = af.adapt(as_classifier(model, input_shape=tuple(test.x.shape[1:]), nb_classes=10))
    return model, net, test.x, test.y, title
