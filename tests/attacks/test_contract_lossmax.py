"""The contract on our own attacks, and that the contract itself catches an attack that breaks it."""

import numpy as np
import pytest
import torch

from art_flat.attacks import Attack, AttackInfo
from art_flat.errors import ModelChangedError
from art_flat.testing import AttackContract


class TestPGDLinf(AttackContract):
    attack = "art_flat:PGD(steps=10)"
    strength = 0.9


class TestPGDL2(AttackContract):
    attack = "art_flat:PGD(steps=10)"
    norm = "L2"
    delta = 1.5
    strength = 0.9


class TestAPGDLinf(AttackContract):
    attack = "art_flat:APGD(steps=10, restarts=2)"
    strength = 0.9


class TestAPGDL2(AttackContract):
    attack = "art_flat:APGD(steps=10)"
    norm = "L2"
    delta = 1.5
    strength = 0.9


def contract_of(run):
    class Test(Attack):
        def run(self, problem):
            return run(problem)

    info = AttackInfo(name="test:Test", build=lambda **p: Test(info, p), norms=("Linf",))

    class Contract(AttackContract):
        attack = info.build()

    return Contract()


def test_doing_nothing_breaks_the_contract(digits):
    with pytest.raises(AssertionError):
        contract_of(lambda p: p.x).test_success_agrees_with_the_classifier(digits)


def test_leaving_the_ball_breaks_the_contract(digits):
    with pytest.raises(AssertionError):
        contract_of(lambda p: 1 - p.x).test_points_are_inside_ball_and_range(digits)


def test_own_randomness_breaks_the_contract(digits):
    generator = np.random.default_rng()

    def unseeded(p):
        return p.x + 0.1 * torch.as_tensor(generator.random(p.x.shape), dtype=p.x.dtype)

    with pytest.raises(AssertionError):
        contract_of(unseeded).test_same_seed_same_points(digits)


def test_changing_the_weights_breaks_the_contract(digits, capfd):
    net, _, _ = digits
    state = {k: v.clone() for k, v in net.estimator.model.state_dict().items()}

    def vandal(p):
        with torch.no_grad():
            next(net.estimator.model.parameters()).add_(1e-3)
        return p.x

    try:
        with pytest.raises(ModelChangedError, match="weights"):
            contract_of(vandal).test_state_is_unchanged(digits, capfd)
    finally:
        net.estimator.model.load_state_dict(state)
