"""Cheap runs of torchattacks' attacks, and small classifiers to run them on."""

import dataclasses
import functools

import numpy as np
import pytest
from attack_cases import TORCHATTACKS as CASES
from attack_cells import Rescaled

torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed")

import art_flat as af  # noqa: E402
from art_flat.attacks import load_attack  # noqa: E402
from art_flat.datasets import load_dataset  # noqa: E402
from art_flat.models import as_classifier, digits_cnn  # noqa: E402
from art_flat.testing import small_problem  # noqa: E402
from art_flat.training import train  # noqa: E402

N = 6  # few, so the floors below leave room for a net that another processor trains a little differently


def spec(name):
    params = CASES[name][0]
    return f"torchattacks:{name}({params})" if params else f"torchattacks:{name}"


@functools.cache
def few():
    """The small problem's classifier with six images that it gets right."""
    net, x, y = small_problem()
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:N]
    return net, x[right], y[right]


def run(name, net, x, y, **options):
    _, norm, delta, _, _ = CASES[name]
    return load_attack(spec(name))(net, x, y, **{"norm": norm, "delta": delta, **options})


# Parameters


def seen(text, net, x, y, **options):
    """The library's object as it is when it would run, with the images and labels it would get."""
    attack, found = load_attack(text), {}

    def call(setup, thing, labels):
        found.update(attack=thing, images=setup.start, labels=labels)
        return setup.start

    attack.row = dataclasses.replace(attack.row, call=call)
    attack(net, x, y, **options)
    return found


OFTEN = {"FGSM", "PGDL2", "APGD", "FAB", "JSMA"}
"""In the default run, where a test tries every attack; a kind of attack each."""


def fitted(net, x, y, shape, nb_classes, clip_values=(0.0, 1.0)):
    train(net, x, y, epochs=6, seed=0)
    return af.adapt(as_classifier(net, input_shape=shape, nb_classes=nb_classes, clip_values=clip_values))


@functools.cache
def in_range(low, high):
    net, x, y = few()
    model = Rescaled(net.estimator.model, low, high)
    classifier = as_classifier(model, input_shape=(1, 8, 8), nb_classes=10, clip_values=(low, high))
    return af.adapt(classifier), x * (high - low) + low, y


@functools.cache
def modulo(nb_classes):
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=N)
    net = fitted(digits_cnn(nb_classes), data.x, data.y % nb_classes, (1, 8, 8), nb_classes)
    return net, test.x, test.y % nb_classes
