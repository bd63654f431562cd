"""Points of torchattacks' attacks, targets, and defects that the wrapper repairs."""

import copy

import numpy as np
import pytest
import torch
from attack_cases import TORCHATTACKS as CASES
from sampling import mostly_slow
from tolerances import close
from torch import nn
from torchattacks_cases import OFTEN, few, in_range, run, spec, torchattacks

import art_flat as af
from art_flat.attacks import load_attack
from art_flat.models import as_classifier, digits_cnn
from art_flat.testing import small_problem


def test_fgsm_is_one_step_along_the_sign_of_the_gradient_for_the_true_label():
    net, x, y = few()
    wrong = (y + 1) % 10
    inputs = torch.from_numpy(x).double().requires_grad_()
    model = copy.deepcopy(net.estimator.model).eval().double()
    loss = nn.functional.cross_entropy(model(inputs), torch.from_numpy(wrong), reduction="sum")
    (grad,) = torch.autograd.grad(loss, inputs)
    expected = (inputs + 0.1 * grad.sign()).clamp(0, 1).detach().numpy()
    found = load_attack("torchattacks:FGSM")(net, x, wrong, delta=0.1).x
    np.testing.assert_allclose(found, expected, **close("value"))


@pytest.mark.slow
def test_minimum_norm_attacks_ignore_delta_and_leave_wrong_samples():
    net, x, y = few()
    wrong = (y + 1) % 10
    for name in ("DeepFool", "FAB", "SparseFool"):
        attack = load_attack(spec(name))
        free, told = (attack(net, x[:2], y[:2], delta=d, seed=0) for d in (None, 1e-3))
        np.testing.assert_array_equal(free.x, told.x)
        assert not told.success.any()
        np.testing.assert_array_equal(attack(net, x[:2], wrong[:2]).x, x[:2])


def test_fab_over_all_classes_is_as_near_as_the_library_finds_within_any_radius():
    net, x, y = few()
    found = load_attack("torchattacks:FAB", multi_targeted=True, steps=5)(net, x, y)
    module, images, labels = net.as_module(), torch.from_numpy(x), torch.from_numpy(y)

    def breaks(i, eps):
        attack = torchattacks.FAB(module, eps=eps, steps=5, seed=0, multi_targeted=True, n_classes=10)
        attack.set_device(images.device)
        return int(module(attack(images, labels)[i : i + 1]).argmax()) != labels[i]

    for i, distance in enumerate(found.distance):
        assert breaks(i, 1.01 * distance)
        assert not breaks(i, 0.99 * distance)


@pytest.mark.slow
def test_deepfool_crosses_the_boundary_where_the_library_stalls():
    net, x, y = small_problem()
    right = np.asarray(net.predict(x)) == y
    x, y = x[right], y[right]
    library = torchattacks.DeepFool(net.as_module(), steps=6)
    library.set_device(torch.device("cpu"))
    stalled = np.asarray(net.predict(library(torch.from_numpy(x), torch.from_numpy(y)).numpy())) == y
    found = run("DeepFool", net, x, y, delta=None)
    assert stalled.any()
    assert found.success.sum() > (~stalled).sum()


def test_cw_moves_saturated_values_and_a_constant_on_the_logits_changes_nothing():
    net, x, y = few()
    found = run("CW", net, x, y)
    moved = (found.x != x)[found.success]
    assert moved[(x == 0)[found.success]].any()
    shifted = digits_cnn()
    shifted.load_state_dict(net.estimator.model.state_dict())
    with torch.no_grad():
        shifted.head.bias -= 30
    lower = af.adapt(as_classifier(shifted, input_shape=(1, 8, 8), nb_classes=10))
    again = run("CW", lower, x, y)
    assert found.success.any()
    np.testing.assert_array_equal(again.success, found.success)
    np.testing.assert_allclose(again.x, found.x, atol=0.02)


def test_untouched_values_come_back_to_the_bit_from_another_range():
    net, x, y = in_range(-0.7, 2.4)
    x = np.random.default_rng(0).uniform(-0.7, 2.4, x.shape).astype(np.float32)
    found = load_attack("torchattacks:Pixle")(net, x, y, delta=64)
    np.testing.assert_array_equal(found.distances["L0"], (found.x != x).reshape(len(x), -1).sum(axis=1))
    assert (found.distances["L0"] < 64).any()
    assert (found.distances["L0"] == 0).sum() < len(x)
    np.testing.assert_array_equal(load_attack("torchattacks:VANILA")(net, x, y).x, x)


AIMED = [name for name, case in CASES.items() if case[4] is not None]


@pytest.mark.parametrize("name", mostly_slow(AIMED, quick=OFTEN.intersection(AIMED)))
def test_targets_are_hit(name):
    net, x, y = few()
    target = (y + 3) % 10
    strength = CASES[name][4]
    delta = {"Linf": 0.4, "L2": 3.0, "L1": 15.0, "L0": 40}[CASES[name][1]]
    found = run(name, net, x, y, delta=delta, target=target)
    hit = np.asarray(net.predict(found.x)) == target
    np.testing.assert_array_equal(found.success, hit & found.within_budget)
    assert hit.mean() >= strength


def test_multiattack_hands_on_what_is_left():
    net, x, y = few()
    both = load_attack("torchattacks:MultiAttack", attacks=["FGSM", "torchattacks:PGD(steps=4)"])
    found = both(net, x, y, delta=0.3)
    alone = load_attack("torchattacks:FGSM")(net, x, y, delta=0.3)
    np.testing.assert_array_equal(found.x[alone.success], alone.x[alone.success])
    assert found.success.sum() >= alone.success.sum()
