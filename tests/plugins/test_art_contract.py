"""The contract of art_flat on every attack of ART, each with a floor under its strength."""

import functools

import pytest

from art_flat.adapters import adapt
from art_flat.attacks import list_attacks
from art_flat.attacks.testing import AttackContract, small_problem
from art_flat.datasets import load_dataset
from art_flat.models import as_classifier, mnist_cnn
from art_flat.training import train

# name, parameters, norm, delta, strength; the radii are generous: what is tested is that the attack does its work
FAST = [
    ("FastGradientMethod", "", "Linf", 0.3, 0.5),
    ("FastGradientMethod", "minimal=True", "L2", 2.0, 0.5),
    ("BasicIterativeMethod", "max_iter=10", "Linf", 0.3, 0.9),
    ("ProjectedGradientDescent", "max_iter=10", "Linf", 0.3, 0.9),
    ("ProjectedGradientDescent", "max_iter=10, num_random_init=2", "L2", 2.0, 0.9),
    ("ProjectedGradientDescent", "max_iter=10", "L1", 10.0, 0.1),
    ("MomentumIterativeMethod", "max_iter=10", "L2", 2.0, 0.9),
    ("AutoProjectedGradientDescent", "max_iter=10, nb_random_init=1", "Linf", 0.3, 0.9),
    (
        "AutoProjectedGradientDescent",
        "max_iter=10, nb_random_init=1, loss_type='difference_logits_ratio'",
        "L2",
        2.0,
        0.8,
    ),
    ("AutoConjugateGradient", "max_iter=10, nb_random_init=1", "L2", 2.0, 0.9),
    (
        "AutoConjugateGradient",
        "max_iter=10, nb_random_init=1, loss_type='difference_logits_ratio'",
        "Linf",
        0.3,
        0.5,
    ),
    ("RescalingAutoConjugateGradient", "max_iter=10, nb_random_init=1", "L1", 12.0, 0.5),
    ("SquareAttack", "max_iter=50", "Linf", 0.4, 0.8),
    ("SquareAttack", "max_iter=50", "L2", 2.5, 0.5),
    ("UniversalPerturbation", "max_iter=3, attacker_params={'max_iter': 5, 'epsilon': 0.5}", "L2", 4.0, 0.1),
    (
        "UniversalPerturbation",
        "max_iter=2, attacker='pgd', attacker_params={'max_iter': 5}",
        "Linf",
        0.5,
        0.2,
    ),
    ("TargetedUniversalPerturbation", "max_iter=3", "Linf", 0.5, 0.1),
    ("FeatureAdversariesPyTorch", "max_iter=10", "Linf", 0.3, 0.5),
    ("FrameSaliencyAttack", "max_iter=5", "Linf", 0.3, 0.9),
    ("FrameSaliencyAttack", "max_iter=5, method='one_shot'", "Linf", 0.3, 0.9),
    ("VirtualAdversarialMethod", "max_iter=1", "L2", 3.0, 0.1),
    ("ThresholdAttack", "max_iter=2", "Linf", 0.5, 0.3),
    ("CarliniL2Method", "binary_search_steps=2, max_iter=4, initial_const=1.0", "L2", 3.0, 0.8),
    ("DeepFool", "max_iter=10, epsilon=0.02", "L2", 3.0, 0.8),
    ("ElasticNet", "max_iter=10, binary_search_steps=2, initial_const=1.0", "L1", 8.0, 0.8),
    ("NewtonFool", "max_iter=20, eta=0.1", "L2", 3.0, 0.3),
    ("SaliencyMapMethod", "theta=1.0", "L0", 30, 0.8),
    ("HopSkipJump", "max_iter=2, max_eval=20, init_eval=10", "L2", 4.0, 0.8),
    ("HopSkipJump", "max_iter=2, max_eval=20, init_eval=10", "Linf", 0.9, 0.8),
    ("BoundaryAttack", "max_iter=5, num_trial=5, sample_size=5", "L2", 4.0, 0.8),
    ("SignOPTAttack", "max_iter=2, num_trial=10, k=5", "L2", 4.0, 0.8),
    ("ZooAttack", "max_iter=15, learning_rate=0.1, initial_const=10.0", "L2", 3.0, 0.5),
    ("SimBA", "max_iter=100, epsilon=0.4", "L2", 3.0, 0.8),
    ("SimBA", "max_iter=100, epsilon=0.4, attack='px'", "Linf", 0.5, 0.8),
    ("SpatialTransformation", "num_rotations=3, num_translations=3", "L2", 6.0, 0.5),
    ("ShadowAttack", "nb_steps=30, batch_size=5", "L2", 3.0, 0.3),
    ("AdversarialPatchPyTorch", "max_iter=10, scale=0.8", "L2", 5.0, 0.3),
]
SLOW = [
    ("AutoAttack", "", "Linf", 0.4, 0.9),
    ("PixelAttack", "max_iter=3", "L0", 12, 0.3),
    (
        "CarliniLInfMethod",
        "max_iter=10, learning_rate=0.5, initial_const=0.1, const_factor=10.0, decrease_factor=0.5",
        "Linf",
        0.6,
        0.8,
    ),
    ("CarliniL0Method", "binary_search_steps=1, max_iter=3, initial_const=10.0", "L0", 40, 0.5),
    ("BrendelBethgeAttack", "steps=20, lr=0.1", "L2", 3.0, 0.5),
    ("BrendelBethgeAttack", "steps=20, lr=0.1", "Linf", 0.5, 0.5),
    (
        "Wasserstein",
        "max_iter=5, conjugate_sinkhorn_max_iter=20, projected_sinkhorn_max_iter=20, regularization=300.0",
        "L2",
        6.0,
        0.1,
    ),
]
COLOUR = [
    ("LaserAttack", "iterations=20, max_laser_beam=(780.0, 3.14, 8.0, 4)", "L2", 14.0, 0.2),
    ("CompositeAdversarialAttackPyTorch", "max_iter=1, max_inner_iter=3", "L2", 14.0, 0.5),
]


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


def contracts(cases, images, mark=lambda test: test):
    return {f"Test{case[0]}{case[2]}{i}": mark(contract(case, images)) for i, case in enumerate(cases)}


globals().update(contracts(FAST, grey))
globals().update(contracts(SLOW, grey, pytest.mark.slow))
globals().update(contracts(COLOUR, colour, pytest.mark.slow))


def test_every_usable_attack_is_tried_and_none_may_do_nothing():
    cases = FAST + SLOW + COLOUR
    usable = {n.split(":")[1] for n, info in list_attacks("art").items() if info.usability != "refused"}
    assert usable <= {case[0] for case in cases}
    assert all(case[4] > 0 for case in cases)
