"""Small classifiers for the tests of ART's attacks, and a spy on what the library is called with."""

import functools

import art.attacks.evasion
import numpy as np
from torch import nn

import art_flat as af
from art_flat.attacks import list_attacks
from art_flat.datasets import load_dataset
from art_flat.models import as_classifier, digits_cnn
from art_flat.testing import small_problem
from art_flat.training import train

INFOS = list_attacks("art")


@functools.cache
def few(n=6):
    """The small problem's classifier with images that it gets right."""
    net, x, y = small_problem()
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:n]
    return net, x[right], y[right]


@functools.cache
def trained(nb_classes):
    """A digits CNN of the first classes, with images that it gets right."""
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=200)
    model = digits_cnn(nb_classes)
    chosen = data.y < nb_classes
    train(model, data.x[chosen], data.y[chosen], epochs=8, seed=0)
    net = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=nb_classes))
    x, y = test.x[test.y < nb_classes], test.y[test.y < nb_classes]
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:6]
    return net, x[right], y[right]


class Grey(nn.Module):
    """A model of [0, 1] that is told inputs in [0, 255], with mean 25.5 and deviation 51 taken off before."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model((x * 51 + 25.5) / 255)


@functools.cache
def grey():
    """`few`, the same function of inputs in [0, 255] with ART's preprocessing."""
    net, x, y = few()
    classifier = as_classifier(
        Grey(net.estimator.model),
        input_shape=(1, 8, 8),
        nb_classes=10,
        clip_values=(0.0, 255.0),
        preprocessing=(25.5, 51.0),
    )
    return af.adapt(classifier), x * 255, y


def seen(monkeypatch, name):
    """Record what the library's attack is built and called with; it returns the clean points."""
    real = getattr(art.attacks.evasion, name)
    records = []

    class Spy(real):
        @functools.wraps(real.__init__)
        def __init__(self, *args, **kwargs):
            records.append({"view": args[0], **kwargs})
            super().__init__(*args, **kwargs)

        def generate(self, x, y=None, **kwargs):
            records[-1] |= {"x": x, "y": y, **kwargs}
            return x.copy()

    monkeypatch.setattr(art.attacks.evasion, name, Spy)
    return records
