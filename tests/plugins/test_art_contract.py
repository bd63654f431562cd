"""The contract of art_flat on every attack of ART, each with a floor under its strength."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from art_flat._types import Norm
from art_flat.adapters import Adapter, adapt
from art_flat.attacks import list_attacks
from art_flat.attacks.testing import AttackContract, small_problem
from art_flat.datasets import load_dataset
from art_flat.models import as_classifier, mnist_cnn
from art_flat.training import train

Problem = tuple[Adapter, np.ndarray, np.ndarray]
Case = tuple[str, Norm, float, float, dict[str, Any]]

# name, norm, delta, strength, parameters; the radii are generous, what is tested is that the attack does its work
FAST: list[Case] = [
    ("FastGradientMethod", "Linf", 0.3, 0.5, {}),
    ("FastGradientMethod", "L2", 2.0, 0.5, {"minimal": True}),
    ("BasicIterativeMethod", "Linf", 0.3, 0.9, {"max_iter": 10}),
    ("ProjectedGradientDescent", "Linf", 0.3, 0.9, {"max_iter": 10}),
    ("ProjectedGradientDescent", "L2", 2.0, 0.9, {"max_iter": 10, "num_random_init": 2}),
    ("ProjectedGradientDescent", "L1", 10.0, 0.1, {"max_iter": 10}),
    ("MomentumIterativeMethod", "L2", 2.0, 0.9, {"max_iter": 10}),
    ("AutoProjectedGradientDescent", "Linf", 0.3, 0.9, {"max_iter": 10, "nb_random_init": 1}),
    (
        "AutoProjectedGradientDescent",
        "L2",
        2.0,
        0.8,
        {"max_iter": 10, "nb_random_init": 1, "loss_type": "difference_logits_ratio"},
    ),
    ("AutoConjugateGradient", "L2", 2.0, 0.9, {"max_iter": 10, "nb_random_init": 1}),
    (
        "AutoConjugateGradient",
        "Linf",
        0.3,
        0.5,
        {"max_iter": 10, "nb_random_init": 1, "loss_type": "difference_logits_ratio"},
    ),
    ("RescalingAutoConjugateGradient", "L1", 12.0, 0.5, {"max_iter": 10, "nb_random_init": 1}),
    ("SquareAttack", "Linf", 0.4, 0.8, {"max_iter": 50}),
    ("SquareAttack", "L2", 2.5, 0.5, {"max_iter": 50}),
    ("TargetedUniversalPerturbation", "Linf", 0.5, 0.1, {"max_iter": 3}),
    ("FeatureAdversariesPyTorch", "Linf", 0.3, 0.5, {"max_iter": 10}),
    ("FrameSaliencyAttack", "Linf", 0.3, 0.9, {"max_iter": 5}),
    ("FrameSaliencyAttack", "Linf", 0.3, 0.9, {"max_iter": 5, "method": "one_shot"}),
    ("CarliniL2Method", "L2", 3.0, 0.8, {"binary_search_steps": 2, "max_iter": 4, "initial_const": 1.0}),
    ("DeepFool", "L2", 3.0, 0.8, {"max_iter": 10, "epsilon": 0.02}),
    ("NewtonFool", "L2", 3.0, 0.3, {"max_iter": 20, "eta": 0.1}),
    ("SaliencyMapMethod", "L0", 30, 0.8, {"theta": 1.0}),
    ("HopSkipJump", "L2", 4.0, 0.8, {"max_iter": 2, "max_eval": 20, "init_eval": 10}),
    ("HopSkipJump", "Linf", 0.9, 0.8, {"max_iter": 2, "max_eval": 20, "init_eval": 10}),
    ("BoundaryAttack", "L2", 4.0, 0.8, {"max_iter": 5, "num_trial": 5, "sample_size": 5}),
    ("SpatialTransformation", "L2", 6.0, 0.5, {"num_rotations": 3, "num_translations": 3}),
    ("ShadowAttack", "L2", 3.0, 0.3, {"nb_steps": 30, "batch_size": 10}),
    ("AdversarialPatchPyTorch", "L2", 5.0, 0.3, {"max_iter": 10, "scale": 0.8}),
]
SLOW: list[Case] = [
    ("AutoAttack", "Linf", 0.4, 0.9, {}),
    ("UniversalPerturbation", "L2", 4.0, 0.1, {"max_iter": 3, "attacker_params": {"max_iter": 5, "epsilon": 0.5}}),
    (
        "UniversalPerturbation",
        "Linf",
        0.5,
        0.2,
        {"max_iter": 2, "attacker": "pgd", "attacker_params": {"max_iter": 5}},
    ),
    ("VirtualAdversarialMethod", "L2", 3.0, 0.1, {"max_iter": 1}),
    ("PixelAttack", "L0", 12, 0.3, {"max_iter": 3}),
    ("ThresholdAttack", "Linf", 0.5, 0.3, {"max_iter": 3}),
    (
        "CarliniLInfMethod",
        "Linf",
        0.6,
        0.8,
        {
            "max_iter": 10,
            "learning_rate": 0.5,
            "initial_const": 0.1,
            "const_factor": 10.0,
            "decrease_factor": 0.5,
        },
    ),
    ("CarliniL0Method", "L0", 40, 0.5, {"binary_search_steps": 1, "max_iter": 3, "initial_const": 10.0}),
    ("ElasticNet", "L1", 8.0, 0.8, {"max_iter": 10, "binary_search_steps": 2, "initial_const": 1.0}),
    ("SignOPTAttack", "L2", 4.0, 0.8, {"max_iter": 2, "num_trial": 10, "k": 5}),
    ("ZooAttack", "L2", 3.0, 0.5, {"max_iter": 15, "learning_rate": 0.1, "initial_const": 10.0}),
    ("BrendelBethgeAttack", "L2", 3.0, 0.5, {"steps": 20, "lr": 0.1}),
    ("BrendelBethgeAttack", "Linf", 0.5, 0.5, {"steps": 20, "lr": 0.1}),
    ("SimBA", "L2", 3.0, 0.8, {"max_iter": 100, "epsilon": 0.4}),
    ("SimBA", "Linf", 0.5, 0.8, {"max_iter": 100, "epsilon": 0.4, "attack": "px"}),
    (
        "Wasserstein",
        "L2",
        6.0,
        0.1,
        {
            "max_iter": 5,
            "conjugate_sinkhorn_max_iter": 20,
            "projected_sinkhorn_max_iter": 20,
            "regularization": 300.0,
        },
    ),
    (
        "GRAPHITEWhiteboxPyTorch",
        "L2",
        8.0,
        0.1,
        {"num_xforms": 3, "steps": 2, "first_steps": 10, "min_tr": 0.5},
    ),
]
RGB: list[Case] = [
    ("LaserAttack", "L2", 14.0, 0.2, {"iterations": 20, "max_laser_beam": (780.0, 3.14, 8.0, 4)}),
    ("CompositeAdversarialAttackPyTorch", "L2", 14.0, 0.5, {"max_iter": 1, "max_inner_iter": 3}),
]


@functools.cache
def rgb_problem() -> Problem:
    """Digits in three equal channels."""
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=10)
    net = mnist_cnn((3, 8, 8))
    train(net, data.x.repeat(3, axis=1), data.y, epochs=8, seed=0)
    return adapt(as_classifier(net, input_shape=(3, 8, 8), nb_classes=10)), test.x.repeat(3, axis=1), test.y


def grey_problem() -> Problem:
    """Ten of the small problem's images."""
    net, x, y = small_problem()
    return net, x[:10], y[:10]


def _contract(case: Case, make: Callable[[], Problem]) -> type[AttackContract]:
    name, norm, delta, strength, params = case

    class Contract(AttackContract):
        @pytest.fixture
        def problem(self) -> Problem:
            info = list_attacks("art")[f"art:{name}"]
            if info.usability == "refused":
                pytest.skip(info.reason)
            return make()

    Contract.attack = f"art:{name}({', '.join(f'{k}={v!r}' for k, v in params.items())})"
    Contract.norm, Contract.delta, Contract.strength = norm, delta, strength
    return Contract


def _contracts(cases: list[Case], make: Callable[[], Problem]) -> dict[str, type[AttackContract]]:
    return {f"Test{case[0]}{case[1]}{i}": _contract(case, make) for i, case in enumerate(cases)}


globals().update(_contracts(FAST, grey_problem))
globals().update({k: pytest.mark.slow(v) for k, v in _contracts(SLOW, grey_problem).items()})
globals().update({k: pytest.mark.slow(v) for k, v in _contracts(RGB, rgb_problem).items()})
