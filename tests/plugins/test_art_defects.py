"""Defects of ART's attacks, and what the wrapper does about them."""

import sys

import art.attacks.evasion
import numpy as np
import pytest
from art_problems import few, seen, trained
from torch import nn

import art_flat as af
from art_flat.attacks import load_attack
from art_flat.errors import AttackNotUsableError
from art_flat.models import as_classifier, fcn


@pytest.mark.parametrize("name", ["AutoConjugateGradient", "RescalingAutoConjugateGradient"])
def test_conjugate_gradients_in_linf_need_the_other_loss(name):
    net, x, y = few()
    with pytest.raises(AttackNotUsableError, match="raw gradient in Linf"):
        load_attack(f"art:{name}")(net, x, y, delta=0.3, norm="Linf")
    spec = f"art:{name}(loss_type='difference_logits_ratio', max_iter=10, nb_random_init=1)"
    assert np.mean(load_attack(spec)(net, x, y, delta=0.3, norm="Linf").success) >= 0.5


@pytest.mark.parametrize(
    ("spec", "norm", "words"),
    [
        ("art:AutoAttack", "Linf", "at least 3 classes, the classifier has 2"),
        ("art:SignOPTAttack", "L2", "at least 3 classes"),
        ("art:PixelAttack", "L0", "at least 3 classes"),
        (
            "art:AutoProjectedGradientDescent(loss_type='difference_logits_ratio')",
            "Linf",
            "at least 3 classes",
        ),
        ("art:SimBA(freq_dim=3, stride=2)", "L2", "divisible by stride"),
        ("art:SquareAttack(p_init=0.99)", "Linf", "lower p_init"),
        ("art:LaserAttack", "L2", "3 channels"),
        ("art:UniversalPerturbation(attacker='jsma')", "Linf", "takes attacker="),
    ],
)
def test_conditions_are_checked_before_running(spec, norm, words):
    with pytest.raises(AttackNotUsableError, match=words):
        load_attack(spec)(*trained(2), delta=3, norm=norm)


def test_image_attacks_refuse_vectors():
    net = af.adapt(as_classifier(fcn(20, (16,), 3), input_shape=(20,), nb_classes=3))
    with pytest.raises(AttackNotUsableError, match="needs images"):
        load_attack("art:SquareAttack")(net, np.full((2, 20), 0.5), np.zeros(2, int), delta=0.1)


def test_spatial_search_covers_both_directions_for_every_image():
    net, x, y = few(4)
    attack = load_attack("art:SpatialTransformation(num_translations=3, num_rotations=1, max_rotation=0.0)")
    result = attack(net, x, y)
    assert result.forwards == 1 + 1 + 9  # ours, ART's on the clean image, and the grid
    again = attack(net, x[::-1], y[::-1])  # ART's object would repeat what it found first
    np.testing.assert_array_equal(again.x[::-1], result.x)


@pytest.mark.slow
def test_carlini_l0_fixes_all_values_it_can():
    net, x, y = few(2)
    spec = "art:CarliniL0Method(binary_search_steps=1, max_iter=3, initial_const=10.0)"
    result = load_attack(spec)(net, x, y)
    assert result.success.all()
    assert (result.distance < 40).all()  # ART alone leaves all 64 changed


def test_a_point_at_which_the_library_breaks_down_is_failed_and_not_robust(monkeypatch):
    net, x, y = few(3)

    def generate(self, x, y=None, **kwargs):
        if (x == few()[1][1]).all():
            raise ValueError("Overflow error")
        return np.clip(x + 0.25, 0, 1)

    monkeypatch.setattr(art.attacks.evasion.Wasserstein, "generate", generate)
    result = load_attack("art:Wasserstein")(net, x, y)
    assert result.status[1] == "failed"
    assert "failed" not in result.status[[0, 2]]
    assert any("point 1: Overflow error" in text for text in result.warnings)
    np.testing.assert_array_equal(result.x[1], x[1])


def test_autoattack_does_without_multiprocess():
    before = sys.modules.get("multiprocess")
    net, x, y = few(3)
    result = load_attack("art:AutoAttack")(net, x, y, delta=0.5)
    assert result.success.all()
    assert sys.modules.get("multiprocess") is before


def test_system_randomness_is_seeded_and_put_back_after_an_error(monkeypatch):
    net, x, y = few(2)
    states, real = [], np.random.RandomState

    def generate(self, x, y=None, **kwargs):
        states.append([np.random.RandomState().uniform() for _ in range(3)])
        raise RuntimeError("broken")

    monkeypatch.setattr(art.attacks.evasion.HopSkipJump, "generate", generate)
    for seed in (1, 1, 2):
        with pytest.raises(RuntimeError, match="broken"):
            load_attack("art:HopSkipJump")(net, x, y, seed=seed)
    assert np.random.RandomState is real
    assert states[0] == states[1] != states[2]
    assert len(set(states[0])) == 3


def test_numpy_is_lent_what_laser_needs_and_no_longer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    net = af.adapt(as_classifier(model, input_shape=(3, 8, 8), nb_classes=4))
    x = np.full((2, 3, 8, 8), 0.2, dtype=np.float32)
    had = "asfarray" in vars(np)
    result = load_attack("art:LaserAttack(iterations=2)")(net, x, np.asarray(net.predict(x)))
    assert result.x.shape == x.shape
    assert ("asfarray" in vars(np)) == had


def test_the_classifier_of_the_user_never_reaches_the_library(monkeypatch):
    records = seen(monkeypatch, "FastGradientMethod")
    net, x, y = few()
    load_attack("art:FastGradientMethod")(net, x, y, delta=0.1)
    view = records[0]["view"]
    assert view is not net.estimator
    ours = {id(m) for m in net.estimator.model.modules()}
    assert not ours & {id(m) for m in view.model.modules()}
