"""The same attack from different libraries, at the same settings, finds the same or nearly so; a small net.

`benchmarks/agreement.py` has the table for the MNIST CNN and says what explains each difference.
"""

import functools

import numpy as np
import pytest

from art_flat.attacks import list_attacks, load_attack
from art_flat.testing import small_problem

# norm, radius, what may differ on a share of the samples, implementations
EQUAL = {
    "FGSM": ("Linf", 0.08, ["torchattacks:FGSM", "art:FastGradientMethod", "foolbox:LinfFastGradientAttack"]),
    "PGD": (
        "Linf",
        0.06,
        [
            "torchattacks:PGD(steps=20, random_start=False)",
            "art:ProjectedGradientDescent(max_iter=20)",
            "foolbox:LinfProjectedGradientDescentAttack(steps=20, random_start=False)",
        ],
    ),
    "MIM": (
        "Linf",
        0.06,
        [
            "torchattacks:MIFGSM(steps=20, decay=1.0)",
            "art:MomentumIterativeMethod(max_iter=20, decay=1.0)",
        ],
    ),
}
CLOSE = {
    "PGD, random start": (
        "Linf",
        0.06,
        0.1,
        [
            "torchattacks:PGD(steps=20)",
            "art:ProjectedGradientDescent(max_iter=20, num_random_init=1)",
            "foolbox:LinfProjectedGradientDescentAttack(steps=20)",
            "art_flat:PGD(steps=20)",
        ],
    ),
    "APGD": (
        "Linf",
        0.06,
        0.1,
        [
            "torchattacks:APGD(loss='ce', steps=30)",
            "art:AutoProjectedGradientDescent(max_iter=30, nb_random_init=1)",
            "art_flat:APGD(steps=30)",
        ],
    ),
    "CW": (
        "L2",
        0.6,
        0.2,
        [
            "torchattacks:CW(c=10, steps=200, lr=0.05)",
            "art:CarliniL2Method(max_iter=30, binary_search_steps=4, initial_const=1.0, learning_rate=0.1)",
        ],
    ),
    "DeepFool": (
        "L2",
        0.6,
        0.1,
        [
            "torchattacks:DeepFool(steps=50, overshoot=0.02)",
            "art:DeepFool(max_iter=50, epsilon=0.02)",
            "foolbox:L2DeepFoolAttack(steps=50, overshoot=0.02)",
        ],
    ),
    "Square": (
        "Linf",
        0.15,
        0.25,
        ["torchattacks:Square(n_queries=200)", "art:SquareAttack(max_iter=200)"],
    ),
}


@functools.cache
def found(spec, norm, delta):
    """Which of the small problem's images a library's attack leaves right."""
    net, x, y = small_problem(48)
    result = load_attack(spec)(net, x, y, delta=delta, norm=norm, seed=1)
    return (np.asarray(net.predict(x)) == y) & ~result.success, result


def installed(specs):
    pytest.importorskip("torchattacks")
    return [spec for spec in specs if spec.partition("(")[0] in list_attacks()]


@pytest.mark.parametrize("name", EQUAL)
def test_what_is_the_same_computation_gives_the_same_points(name):
    norm, delta, specs = EQUAL[name]
    first, *others = (found(spec, norm, delta) for spec in installed(specs))
    assert 0.1 < first[0].mean() < 0.9
    for left, result in others:
        np.testing.assert_array_equal(left, first[0])
        moved = np.abs(result.x - first[1].x) > 1e-4  # a gradient of zero within rounding has either sign
        assert moved.mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSE)
def test_robust_accuracies_agree_within_what_the_settings_explain(name):
    norm, delta, tolerance, specs = CLOSE[name]
    left = [found(spec, norm, delta)[0] for spec in installed(specs)]
    shares = [part.mean() for part in left]
    assert 0.05 < min(shares) < 0.9
    assert max(shares) - min(shares) <= tolerance


def test_ours_is_never_weaker_than_the_libraries():
    ours = found("art_flat:APGD(steps=30)", "Linf", 0.06)[0].mean()
    for spec in installed(EQUAL["PGD"][2]):
        assert ours <= found(spec, "Linf", 0.06)[0].mean() + 1e-9
