"""The classifiers on which every attack is tried: shape × number of classes × clip range, each with ART preprocessing.

The images are scikit-learn's digits, enlarged; class c of k is every digit with remainder c, so that each k has all of
them. The networks are tiny, trained in a second, and those of the two ranges are the same function.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

import art_flat as af
from art_flat.datasets import load_dataset
from art_flat.models import as_classifier
from art_flat.training import train

N = 6
MEAN, DEVIATION = 0.3, 0.4


class Cell(NamedTuple):
    """One combination; `high` is the upper end of the clip range, the lower is 0."""

    shape: tuple[int, int, int]
    nb_classes: int
    high: float

    def __str__(self):
        return f"{'x'.join(map(str, self.shape))}-k{self.nb_classes}-{self.high:g}"


CELLS = [Cell(*c) for c in itertools.product([(1, 28, 28), (3, 32, 32)], [2, 3, 10], [1.0, 255.0])]


def images(shape, x):
    """Digits (n, 1, 8, 8) as grey 28×28 or coloured 32×32 images."""
    if shape == (1, 28, 28):
        return np.pad(np.kron(x, np.ones((1, 1, 3, 3), np.float32)), ((0, 0), (0, 0), (2, 2), (2, 2)))
    large = np.kron(x, np.ones((1, 1, 4, 4), np.float32))
    return np.concatenate([large, large[:, :, ::-1], 1 - large], axis=1)


@functools.cache
def network(shape, nb_classes):
    """A small network trained on the standardised images."""
    data = load_dataset("digits", split="train", n=1000)
    side = shape[1] // 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = nn.Sequential(
            *(nn.Conv2d(shape[0], 8, 4, stride=4), nn.Tanh(), nn.Flatten()),
            *(nn.Linear(8 * side * side, 24), nn.Tanh()),
        )
        model = nn.Sequential(features, nn.Linear(24, nb_classes))
    standardised = (images(shape, data.x) - MEAN) / DEVIATION
    return train(model, standardised, data.y % nb_classes, epochs=6, seed=0)


@functools.cache
def problem(cell):
    """The adapted classifier of a cell, and images that it gets right."""
    classifier = as_classifier(
        network(cell.shape, cell.nb_classes),
        input_shape=cell.shape,
        nb_classes=cell.nb_classes,
        clip_values=(0.0, cell.high),
        preprocessing=(MEAN * cell.high, DEVIATION * cell.high),
    )
    net = af.adapt(classifier)
    test = load_dataset("digits", split="test", n=60)
    x, y = images(cell.shape, test.x) * np.float32(cell.high), test.y % cell.nb_classes
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:N]
    assert len(right) == N
    return net, x[right], y[right]


def radius(norm, delta, cell):
    """A radius on 8×8 digits as one that does as much to the larger images, in units of the cell's range."""
    times = np.prod(cell.shape) / 64
    return (
        delta
        * {"Linf": 1.0, "L2": times**0.5, "L1": times, "L0": times}[norm]
        * (1.0 if norm == "L0" else cell.high)
    )


class Rescaled(nn.Module):
    """A network on [0, 1] as one on another range."""

    def __init__(self, net, low, high):
        super().__init__()
        self.features, self.head = net.features, net.head
        self.low, self.span = low, high - low

    def forward(self, x):
        return self.head(self.features((x - self.low) / self.span))
