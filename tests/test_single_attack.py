"""Functions of one attack take what others take in a list, and refuse several; options are of their own type."""

import numpy as np
import pytest

import art_flat as af
from art_flat import detection, metrics
from art_flat.attacks import as_attack
from art_flat.errors import AttackNotUsableError, InputError

X = np.random.default_rng(0).random((6, 4), dtype=np.float32)
Y = np.arange(6) % 3


@pytest.fixture
def net(linear):
    return linear(np.random.default_rng(1).normal(size=(3, 4)))


def step(module, x, y):
    return x + np.float32(0.05)


CALLS = {
    "trace_attack": lambda net, attack: af.trace_attack(net, attack, X, Y, delta=0.1).frame(),
    "scale_sweep": lambda net, attack: af.scale_sweep(net, attack, X, Y, delta=0.1, scales=2).frame(),
    "detection_table": lambda net, attack: detection.detection_table(net, X, Y, attack, 0.1, folds=2),
}


@pytest.mark.parametrize("name", CALLS)
def test_one_attack_in_every_form(net, name):
    call = CALLS[name]
    assert len(call(net, step)) == len(call(net, [as_attack(step, name="mine")])) > 0
    assert len(call(net, ["art_flat:PGD(steps=2)"])) == len(call(net, "art_flat:PGD(steps=2)")) > 0
    for several in ("fast", ["art_flat:PGD", "art_flat:APGD"]):
        with pytest.raises(InputError, match=r"`attack` names .* attacks; pass one, and call once for each"):
            call(net, several)


def test_curve_over_radii(net):
    for attack in ("art_flat:APGD(steps=4)", ["art_flat:APGD(steps=4)"]):
        assert metrics.loss_increase_over_radii(net, X, Y, deltas=[0.1], attack=attack).shape == (1,)
    with pytest.raises(AttackNotUsableError, match="own:step chooses its own start"):
        metrics.loss_increase_over_radii(net, X, Y, deltas=[0.1], attack=step)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transfer": "no"}, "`transfer` must be True or False, got 'no'"),
        ({"save_adversarial": "false"}, "`save_adversarial` must be True or False"),
        ({"estimate_gradients": 1}, "`estimate_gradients` must be True or False"),
        ({"weight": ["a"] * 6}, "`weight` must be an array of numbers, got text such as 'a'"),
        ({"samples": np.arange(6, dtype=np.uint64) + 2**63}, r"whole numbers below 2\*\*63"),
    ],
)
def test_options_of_another_type(net, options, words):
    with pytest.raises(InputError, match=words):
        af.evaluate(net, X, Y, attacks="art_flat:PGD(steps=1)", deltas={"Linf": [0.1]}, **options)


@pytest.mark.parametrize("size", [0, 0.5, 2.5, "2", True])
def test_batch_size_of_bounds(net, size):
    with pytest.raises(InputError, match="`batch_size` must be a whole number of samples, at least 1"):
        net.bounds_in_ball(X, Y, delta=0.1, batch_size=size)
