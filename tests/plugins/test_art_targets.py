"""Labels and targets of ART's attacks."""

import numpy as np
import pytest
from art_problems import INFOS, few
from sampling import slow

from art_flat.attacks import load_attack
from art_flat.errors import AttackNotUsableError


@pytest.mark.parametrize(
    "spec",
    [
        "art:DeepFool(max_iter=3)",
        "art:NewtonFool(max_iter=3)",
        "art:HopSkipJump(max_iter=1, max_eval=10, init_eval=10)",
        "art:BoundaryAttack(max_iter=1)",
        "art:SignOPTAttack(max_iter=1, num_trial=2, k=2)",
        "art:SaliencyMapMethod",
        "art:CarliniL2Method(binary_search_steps=1, max_iter=1)",
        "art:SpatialTransformation(num_rotations=2, num_translations=1)",
    ],
)
def test_points_that_are_wrong_already_are_nearest_themselves(spec):
    net, x, y = few()
    wrong = (y + 1) % 10
    result = load_attack(spec)(net, x, wrong)
    np.testing.assert_array_equal(result.x, x)
    assert result.success.all()
    assert (result.distance == 0).all()


def test_saliency_map_flees_the_true_class_and_does_not_seek_it():
    net, x, y = few()
    result = load_attack("art:SaliencyMapMethod(theta=1.0)")(net, x, y)
    assert np.mean(result.success) >= 0.8


@pytest.mark.parametrize(
    ("spec", "norm", "delta", "share"),
    [
        ("art:FastGradientMethod", "Linf", 0.3, 0.1),
        ("art:BasicIterativeMethod(max_iter=10)", "Linf", 0.4, 0.8),
        ("art:ProjectedGradientDescent(max_iter=10)", "L2", 2.5, 0.8),
        ("art:MomentumIterativeMethod(max_iter=10)", "Linf", 0.4, 0.8),
        ("art:AutoProjectedGradientDescent(max_iter=10, nb_random_init=1)", "Linf", 0.5, 0.5),
        ("art:AutoConjugateGradient(max_iter=10, nb_random_init=1)", "L2", 3.0, 0.5),
        ("art:TargetedUniversalPerturbation(max_iter=5)", "Linf", 0.5, 0.1),
        ("art:FeatureAdversariesPyTorch(max_iter=10)", "Linf", 0.5, 0.5),
        ("art:FrameSaliencyAttack(max_iter=5)", "Linf", 0.5, 0.5),
        ("art:CarliniL2Method(binary_search_steps=3, max_iter=5, initial_const=1.0)", "L2", 5.0, 0.5),
        ("art:ElasticNet(binary_search_steps=2, max_iter=10, initial_const=1.0)", "L1", 30.0, 0.5),
        ("art:SaliencyMapMethod(theta=1.0)", "L0", 40, 0.5),
        slow(("art:HopSkipJump(max_iter=1, max_eval=10, init_eval=10)", "L2", 8.0, 0.9)),
        slow(("art:BoundaryAttack(max_iter=3, num_trial=5, sample_size=5)", "L2", 8.0, 0.9)),
        slow(("art:ShadowAttack(nb_steps=40, batch_size=5)", "L2", 8.0, 0.3)),
    ],
)
def test_targets_are_hit(spec, norm, delta, share):
    net, x, y = few(10)
    target = np.full_like(y, y[0])  # images of this class are in the batch, which some attacks start from
    others = y != target
    result = load_attack(spec)(net, x, y, delta=delta, norm=norm, target=target)
    hit = np.asarray(net.predict(result.x)) == target
    np.testing.assert_array_equal(result.success, hit & result.within_budget)
    assert result.success[others].mean() >= share
    assert result.success[~others].all()


def test_every_targeted_attack_takes_a_target_and_no_other_does():
    net, x, y = few()
    for info in INFOS.values():
        if info.usability != "refused" and not info.targeted:
            with pytest.raises(AttackNotUsableError, match="does not take a target"):
                info.build()(net, x, y, delta=0.3, target=y)
