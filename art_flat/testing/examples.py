"""A classifier and a run small enough for examples: fixed weights, four images, a fraction of a second."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn

from ..adapters import Adapter, adapt
from ..evaluation import Results, evaluate
from ..models import as_classifier


def example_classifier() -> tuple[Adapter, np.ndarray, np.ndarray]:
    """A linear classifier of four images with 2×2 pixels: class 1 where the left column is brighter than the right.

    Returns:
        The adapter, x of shape (4, 1, 2, 2) in [0, 1], and y of shape (4,); every sample is classified correctly.

    >>> net, x, y = example_classifier()
    >>> net.predict(x).tolist() == y.tolist()
    True
    """
    head = nn.Linear(4, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[-4.0, 4.0, -4.0, 4.0], [4.0, -4.0, 4.0, -4.0]]))
        head.bias.zero_()
    model = nn.Sequential(nn.Flatten(), head)
    left = np.array([0.9, 0.7, 0.4, 0.1], dtype=np.float32)
    x = np.stack([left, 1 - left, left, 1 - left], axis=1).reshape(4, 1, 2, 2)
    return adapt(as_classifier(model, input_shape=(1, 2, 2), nb_classes=2)), x, np.array([1, 1, 0, 0])


@functools.cache
def example_results() -> Results:
    """A run of two attacks at two radii on `example_classifier`, with saved points.

    Returns:
        The results, in memory; the same object at every call.

    >>> example_results().missing_units
    0
    """
    net, x, y = example_classifier()
    attacks = ["art_flat:PGD(steps=2)", "art_flat:GaussianNoise"]
    return evaluate(net, x, y, attacks=attacks, deltas={"Linf": [0.05, 0.3]}, save_adversarial=True)
