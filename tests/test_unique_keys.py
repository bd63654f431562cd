"""Two spellings of one key are an error, since one entry would be lost."""

import numpy as np
import pytest
from six_samples import ATTACK, X, Y, evaluated

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.diagnostics import diagnose
from art_flat.errors import InputError


@pytest.fixture
def net(linear):
    return linear(np.random.default_rng(1).normal(size=(3, 4)))


@pytest.mark.parametrize("keys", [("Linf", "inf"), (np.inf, "linf"), ("L2", 2), (2, "l2")])
def test_norms(net, keys):
    deltas = {keys[0]: [0.1], keys[1]: [0.2]}
    words = f"has {keys[0]!r} and {keys[1]!r}, which are the same key; make them one entry"
    with pytest.raises(InputError, match=f"`deltas` {words}"):
        evaluated(net, deltas=deltas)
    with pytest.raises(InputError, match=f"`radii` {words}"):
        af.load_attack(ATTACK)(net, X, Y, delta=0.1, radii=deltas)


def test_radii_of_an_attack_in_any_spelling(net):
    attack = as_attack(lambda module, x, y: x + np.float32(0.1), name="step")
    for norm in ("Linf", "inf", np.inf):
        assert attack(net, X / 2, Y, radii={norm: 0.1}).distances["Linf"].max() <= 0.1


def test_models(net):
    with pytest.raises(InputError, match="`models` has 1 and '1', which are the same key"):
        evaluated({1: net, "1": net})
    results = evaluated({1: net}, lipschitz={1: 2.0}, certify="lipschitz")
    assert results.models["model"].tolist() == ["1"]
    with pytest.raises(InputError, match="`lipschitz` has 1 and '1'"):
        evaluated({1: net}, lipschitz={1: 2.0, "1": 3.0}, certify="lipschitz")
    with pytest.raises(InputError, match="`nets` has 1 and '1'"):
        diagnose(results, {1: net, "1": net}, X, Y)


def test_norms_of_an_attack_of_ones_own():
    attack = as_attack(lambda module, x, y: x, name="same", norms=["inf", "Linf", 2])
    assert attack.info.norms == ("Linf", "L2")
    with pytest.raises(InputError, match="`norms` is empty; pass at least one"):
        as_attack(lambda module, x, y: x, name="same", norms=[])
