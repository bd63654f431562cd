"""Attacks of torchattacks on other ranges, numbers of classes, colours and vectors."""

import functools

import numpy as np
import pytest
from attack_cases import TORCHATTACKS as CASES
from sampling import mostly_slow, slow
from tolerances import close
from torchattacks_cases import OFTEN, N, few, fitted, in_range, modulo, run, seen

from art_flat.datasets import load_dataset
from art_flat.models import fcn, mnist_cnn


@functools.cache
def colour():
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=N)
    three = [np.concatenate([d.x, d.x[:, :, ::-1], 1 - d.x], axis=1) for d in (data, test)]
    return fitted(mnist_cnn((3, 8, 8)), three[0], data.y, (3, 8, 8), 10), three[1], test.y


@functools.cache
def vectors():
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=N)
    net = fitted(fcn(64, (32,)), data.x.reshape(-1, 64), data.y, (64,), 10)
    return net, test.x.reshape(-1, 64), test.y


@pytest.mark.parametrize("name", ["FGSM", "PGD", "PGDL2", "APGD", "Square", "FAB", "PIFGSM", "EADL1"])
@pytest.mark.parametrize(("low", "high"), [slow((0.0, 255.0)), (-1.0, 2.0)])
@pytest.mark.slow
def test_another_clip_range_gives_the_same_points_rescaled(name, low, high):
    net, x, y = few()
    other, other_x, _ = in_range(low, high)
    delta = CASES[name][2]
    small, large = run(name, net, x, y), run(name, other, other_x, y, delta=delta * (high - low))
    np.testing.assert_allclose((large.x - low) / (high - low), small.x, **close("steps", scale=0.1))
    np.testing.assert_array_equal(large.success, small.success)


SURE = [name for name in CASES if name not in {"VANILA", "GN", "TPGD", "OnePixel"}]
"""Attacks that must turn some labels on any of these small nets."""


def fooled_by(name, net, x, y):
    right = np.asarray(net.predict(x)) == y
    found = run(name, net, x, y)
    assert not set(found.status) & {"failed"}
    return found.success[right].mean()


@pytest.mark.parametrize(
    "name", mostly_slow([n for n in SURE if n not in {"APGDT", "AutoAttack"}], quick=OFTEN)
)
@pytest.mark.parametrize("nb_classes", [2, slow(3)])
def test_few_classes(name, nb_classes):
    assert fooled_by(name, *modulo(nb_classes)) > 0


@pytest.mark.parametrize("name", mostly_slow(SURE, quick=OFTEN))
@pytest.mark.slow
def test_three_channels(name):
    assert fooled_by(name, *colour()) > 0


@pytest.mark.parametrize("name", ["FGSM", "PGD", "PGDL2", "APGD", "FAB", "JSMA", "VMIFGSM"])
def test_vectors(name):
    assert fooled_by(name, *vectors()) > 0


def test_jsma_aims_at_the_next_class_of_those_there_are():
    net, x, y = modulo(3)
    np.testing.assert_array_equal(
        seen("torchattacks:JSMA", net, x, y, delta=10)["labels"].numpy(), (y + 1) % 3
    )
