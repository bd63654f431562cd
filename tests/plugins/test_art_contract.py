"""The contract of art_flat on every attack of ART, each with a floor under its strength."""

import functools

import pytest
from attack_cases import ART, ART_COLOUR, slow_unless_quick

from art_flat.adapters import adapt
from art_flat.attacks import list_attacks
from art_flat.datasets import load_dataset
from art_flat.models import as_classifier, mnist_cnn
from art_flat.testing import AttackContract, small_problem
from art_flat.training import train


def grey():
    """A few of the small problem's images."""
    net, x, y = small_problem()
    return net, x[:8], y[:8]


@functools.cache
def colour():
    """Digits in three equal channels."""
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=8)
    model = mnist_cnn((3, 8, 8))
    train(model, data.x.repeat(3, axis=1), data.y, epochs=8, seed=0)
    net = adapt(as_classifier(model, input_shape=(3, 8, 8), nb_classes=10))
    return net, test.x.repeat(3, axis=1), test.y


def contract(case, images):
    name, params, norm, delta, strength = case

    @pytest.fixture
    def problem(self):
        info = list_attacks("art")[f"art:{name}"]
        if info.usability == "refused":
            pytest.skip(info.reason)
        return images()

    body = {"norm": norm, "delta": delta, "strength": strength, "problem": problem}
    return type("Contract", (AttackContract,), {"attack": f"art:{name}({params})", **body})


def contracts(cases, images):
    return {
        f"Test{case[0]}{case[2]}{i}": slow_unless_quick(f"art:{case[0]}", contract(case, images))
        for i, case in enumerate(cases)
    }


globals().update(contracts(ART, grey))
globals().update(contracts(ART_COLOUR, colour))


def test_every_usable_attack_is_tried_and_none_may_do_nothing():
    cases = ART + ART_COLOUR
    usable = {n.split(":")[1] for n, info in list_attacks("art").items() if info.usability != "refused"}
    assert usable <= {case[0] for case in cases}
    assert all(case[4] > 0 for case in cases)
