"""Cheap settings for every attack, with a radius and a floor under its strength on 8×8 digits.

The radii are generous: what is tested is that an attack does its work, and that one that does nothing fails.
"""

from typing import NamedTuple

import pytest

QUICK = {
    *("art:FastGradientMethod", "art:ProjectedGradientDescent", "art:SquareAttack", "art:DeepFool"),
    *("torchattacks:PGD", "torchattacks:APGD", "torchattacks:CW", "torchattacks:FAB"),
}
"""Whose contract is in the default run; that of all others is marked slow."""


def slow_unless_quick(name, test):
    """A test of the attack, marked."""
    return test if name in QUICK else pytest.mark.slow(test)


# name, parameters, norm, delta, strength
ART = [
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
    ("NewtonFool", "max_iter=20, eta=0.1", "L2", 3.0, 0.2),
    ("SaliencyMapMethod", "theta=1.0", "L0", 30, 0.8),
    ("HopSkipJump", "max_iter=2, max_eval=20, init_eval=10", "L2", 4.0, 0.8),
    ("HopSkipJump", "max_iter=2, max_eval=20, init_eval=10", "Linf", 0.9, 0.5),
    ("BoundaryAttack", "max_iter=5, num_trial=5, sample_size=5", "L2", 4.0, 0.8),
    ("SignOPTAttack", "max_iter=5, num_trial=30, k=10", "L2", 4.0, 0.8),
    ("ZooAttack", "max_iter=15, learning_rate=0.1, initial_const=10.0", "L2", 3.0, 0.5),
    ("SimBA", "max_iter=100, epsilon=0.4", "L2", 3.0, 0.8),
    ("SimBA", "max_iter=100, epsilon=0.4, attack='px'", "Linf", 0.5, 0.8),
    ("SpatialTransformation", "num_rotations=3, num_translations=3", "L2", 6.0, 0.5),
    ("ShadowAttack", "nb_steps=30, batch_size=5", "L2", 3.0, 0.1),
    ("AdversarialPatchPyTorch", "max_iter=10, scale=0.8", "L2", 5.0, 0.3),
    ("AutoAttack", "", "Linf", 0.4, 0.9),
    ("PixelAttack", "max_iter=3", "L0", 12, 0.3),
    (
        "CarliniLInfMethod",
        "max_iter=10, learning_rate=0.5, initial_const=0.1, const_factor=10.0, decrease_factor=0.5",
        "Linf",
        0.7,
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
ART_COLOUR = [
    ("LaserAttack", "iterations=20, max_laser_beam=(780.0, 3.14, 8.0, 4)", "L2", 14.0, 0.2),
    ("CompositeAdversarialAttackPyTorch", "max_iter=1, max_inner_iter=3", "L2", 14.0, 0.5),
]

# name: parameters, norm, delta, strength, targeted strength (None: takes no target)
TORCHATTACKS = {
    "VANILA": ("", "Linf", 0.3, 0.0, None),
    "GN": ("", "L2", 2.0, 0.0, None),
    "FGSM": ("", "Linf", 0.3, 0.8, 0.1),
    "BIM": ("steps=4", "Linf", 0.3, 0.8, 0.5),
    "RFGSM": ("steps=4", "Linf", 0.3, 0.8, 0.5),
    "PGD": ("steps=4", "Linf", 0.3, 0.8, 0.5),
    "EOTPGD": ("steps=4", "Linf", 0.3, 0.8, 0.5),
    "FFGSM": ("", "Linf", 0.3, 0.8, 0.1),
    "TPGD": ("steps=4", "Linf", 0.3, 0.4, None),
    "MIFGSM": ("steps=4", "Linf", 0.3, 0.8, 0.5),
    "UPGD": ("steps=4", "Linf", 0.3, 0.8, 0.5),
    "APGD": ("steps=6", "Linf", 0.3, 0.8, None),
    "APGDT": ("steps=6", "Linf", 0.3, 0.8, None),
    "DIFGSM": ("steps=4", "Linf", 0.3, 0.8, 0.3),
    "TIFGSM": ("steps=4", "Linf", 0.3, 0.3, 0.1),
    "Jitter": ("steps=4", "Linf", 0.3, 0.3, 0.1),
    "NIFGSM": ("steps=4", "Linf", 0.3, 0.8, 0.4),
    "PGDRS": ("steps=4, noise_sd=0.2", "Linf", 0.3, 0.4, 0.1),
    "SINIFGSM": ("steps=4, m=2", "Linf", 0.3, 0.8, 0.4),
    "VMIFGSM": ("steps=4, N=2", "Linf", 0.3, 0.8, 0.4),
    "VNIFGSM": ("steps=4, N=2", "Linf", 0.3, 0.8, 0.4),
    "SPSA": ("nb_sample=64", "Linf", 0.3, 0.6, 0.1),
    "JSMA": ("", "L0", 20, 0.2, 0.1),
    "EADL1": ("binary_search_steps=3, max_iterations=40, initial_const=5.0", "L1", 10.0, 0.5, 0.3),
    "EADEN": ("binary_search_steps=3, max_iterations=40, initial_const=5.0", "L2", 2.5, 0.5, 0.3),
    "PIFGSM": ("num_iter_set=4", "Linf", 0.3, 0.8, None),
    "PIFGSMPP": ("num_iter_set=4", "Linf", 0.3, 0.8, 0.3),
    "CW": ("lr=0.1, steps=30, c=5", "L2", 2.0, 0.6, 0.3),
    "PGDL2": ("steps=4", "L2", 2.0, 0.8, 0.4),
    "DeepFool": ("steps=6", "L2", 2.0, 0.8, None),
    "PGDRSL2": ("steps=4, noise_sd=0.2", "L2", 2.0, 0.6, 0.2),
    "SparseFool": ("steps=2", "L0", 40, 0.5, None),
    "OnePixel": ("pixels=8, steps=4, popsize=30", "L0", 8, 0.1, 0.0),
    "Pixle": ("", "L0", 50, 0.5, 0.3),
    "FAB": ("steps=4", "Linf", 0.3, 0.8, None),
    "AutoAttack": ("steps=3, n_queries=10", "Linf", 0.3, 0.8, None),
    "Square": ("n_queries=100", "Linf", 0.3, 0.6, 0.3),
    "MultiAttack": ('attacks=("FGSM", "APGD(steps=3)")', "Linf", 0.3, 0.8, None),
}


class Larger(NamedTuple):
    """How an attack is tried on the larger images of `attack_cells`, where 8×8 settings would be slow or weak."""

    params: str | None = None  # those of 8×8 if None
    delta: float | None = None  # on 8×8 digits; `attack_cells.radius` scales it
    floor: float = 0.1
    cells: str = "pairs"  # six, "cover" (four), "two", "easy" (two), "one" (grey: hopeless in colour)
    n: int = 6


LARGER = {
    "art:FastGradientMethod": Larger(),
    "art:SquareAttack": Larger(delta=5.0),
    "art:UniversalPerturbation": Larger(cells="cover"),
    "art:TargetedUniversalPerturbation": Larger(),
    "art:FrameSaliencyAttack": Larger(floor=0.5),
    "art:AutoConjugateGradient": Larger(),
    "art:VirtualAdversarialMethod": Larger(delta=5.0, cells="two"),
    "art:ThresholdAttack": Larger("max_iter=1", 0.9, cells="two", n=1),
    "art:PixelAttack": Larger("max_iter=4", 40, cells="one", n=1),
    "art:CarliniL2Method": Larger(
        "binary_search_steps=2, max_iter=6, initial_const=10.0, learning_rate=0.1", 3.0, 0.5
    ),
    "art:ElasticNet": Larger(
        "binary_search_steps=2, max_iter=15, initial_const=10.0, learning_rate=0.1", 20, 0.5
    ),
    "art:NewtonFool": Larger(delta=9.0),
    "art:HopSkipJump": Larger(delta=6.0, floor=0.3, n=3),
    "art:SignOPTAttack": Larger(  # in colour with ten classes random directions rarely find a start
        "max_iter=25, num_trial=400, k=20", 9.0, cells="two", n=6
    ),
    "art:ZooAttack": Larger(
        "max_iter=30, learning_rate=0.5, initial_const=1000.0, nb_parallel=512, use_resize=False, variable_h=0.01",
        6.0,
        0.5,
        "two",
        2,
    ),
    "art:SimBA": Larger("max_iter=60, epsilon=1.0", 8.0, cells="cover", n=4),
    "art:SpatialTransformation": Larger("num_rotations=3, num_translations=2", 8.0, 0.3, "cover", 3),
    "art:ShadowAttack": Larger("nb_steps=100, learning_rate=0.5, batch_size=5", 12.0, 0.1, "cover", 3),
    "art:AdversarialPatchPyTorch": Larger(),
    "art:AutoAttack": Larger(cells="two", n=3),
    "art:CarliniLInfMethod": Larger(cells="two", n=2),
    "art:CarliniL0Method": Larger(cells="two", n=1),
    "art:BrendelBethgeAttack": Larger(cells="two", n=2),
    "art:Wasserstein": Larger(
        "max_iter=20, eps=20.0, eps_step=2.0, conjugate_sinkhorn_max_iter=20, "
        "projected_sinkhorn_max_iter=20, regularization=300.0",
        12.0,
        cells="two",
        n=4,
    ),
    "art:LaserAttack": Larger("iterations=60, max_laser_beam=(780.0, 3.14, 32.0, 32)", 40.0, 0.5, n=4),
    "torchattacks:VANILA": Larger(floor=0.0),
    "torchattacks:GN": Larger(floor=0.0),
    "torchattacks:FGSM": Larger(),
    "torchattacks:FFGSM": Larger(),
    "torchattacks:TPGD": Larger(floor=0.3),
    "torchattacks:Jitter": Larger(),
    "torchattacks:SPSA": Larger("nb_sample=256", 0.5),
    "torchattacks:JSMA": Larger("gamma=0.04", floor=0.5, cells="easy", n=2),
    "torchattacks:SparseFool": Larger("steps=5", 64, cells="two"),
    "torchattacks:Square": Larger(),
    "torchattacks:CW": Larger("lr=0.1, steps=40, c=50", 3.0),
    "torchattacks:EADL1": Larger("binary_search_steps=2, max_iterations=20, initial_const=10.0", 20, 0.3),
    "torchattacks:EADEN": Larger("binary_search_steps=2, max_iterations=20, initial_const=10.0", 4.0, 0.3),
    "torchattacks:Pixle": Larger(floor=0.1, cells="cover"),
}
"""Attacks whose floor is not half of the images, or whose settings differ."""

UNFIT = {("art:ProjectedGradientDescent", "L1"), ("art:SimBA", "Linf"), ("torchattacks:OnePixel", "L0")}
"""Cases that change a few values, too few for a larger image. The first two attacks have other cases there; OnePixel
fooled nothing within seconds, and is tried on 8×8 images alone."""
