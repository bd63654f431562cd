"""Attacks given to metrics: names, instances of every library, functions, and what they fail at."""

import numpy as np
import pytest
import torch
from art.attacks.evasion import DeepFool, FastGradientMethod
from metric_cases import DELTA, WITH_POINTS, call, points_fixture  # noqa: F401
from tolerances import close

import art_flat as af
from art_flat import metrics
from art_flat.attacks import Attack, AttackInfo
from art_flat.errors import (
    AttackNotUsableError,
    InputError,
)


def scripted(run, norms=("Linf",), **facts):
    class Scripted(Attack):
        def run(self, problem):
            return run(problem)

    info = AttackInfo(name="test:Scripted", build=lambda **p: Scripted(info, p), norms=norms, **facts)
    return info.build()


def test_attack_by_name_is_the_attack_itself(digits):
    net, x, y = digits
    pgd = af.load_attack("art_flat:PGD(steps=5)")
    adv = pgd(net, x, y, delta=DELTA, norm="Linf", seed=3)
    for attack in ("art_flat:PGD(steps=5)", pgd, [pgd]):
        got = metrics.loss_increase(
            net.estimator, x, y, attack=attack, delta=DELTA, norm=np.inf, seed=3, reduction="none"
        )
        expected = np.maximum(net.loss(adv.x, y) - net.loss(x, y), 0)
        np.testing.assert_allclose(got, expected, **close("net"))


def test_art_attack_instances(digits, points):
    """ART's own attack on the raw classifier: with and without δ, at the radius it was made with."""
    net, x, y = digits
    fgsm = FastGradientMethod(net.estimator, eps=DELTA)
    given = metrics.loss_increase(net, x, y, x_adv=points[1], reduction="none")
    for delta in (None, DELTA):
        got = metrics.loss_increase(net.estimator, x, y, attack=fgsm, delta=delta, reduction="none")
        np.testing.assert_allclose(got, given, **close("net", scale=10))
    worst = metrics.loss_increase(
        net, x, y, attack=[fgsm, "art_flat:PGD(steps=5)"], delta=DELTA, reduction="none"
    )
    pgd = metrics.loss_increase(net, x, y, attack="art_flat:PGD(steps=5)", delta=DELTA, reduction="none")
    np.testing.assert_allclose(worst, np.maximum(pgd, given), **close("net", scale=10))


def test_torchattacks_instances(digits):
    torchattacks = pytest.importorskip("torchattacks")
    net, x, y = digits
    fgsm = torchattacks.FGSM(net.estimator.model, eps=DELTA)
    by_hand = fgsm(torch.tensor(x), torch.tensor(y)).detach().numpy()
    got = metrics.loss_increase(net.estimator, x, y, attack=fgsm, delta=DELTA, reduction="none")
    given = metrics.loss_increase(net, x, y, x_adv=by_hand, reduction="none")
    np.testing.assert_allclose(got, given, **close("net", scale=10))
    assert given.max() > 0.5


def test_a_function_is_an_attack_too(digits):
    net, x, y = digits

    def darker(module, x, y):
        return x * 0.9

    got = metrics.loss_increase(net, x, y, attack=darker, reduction="none")
    given = metrics.loss_increase(net, x, y, x_adv=x * np.float32(0.9), reduction="none")
    np.testing.assert_allclose(got, given, **close("net", scale=10))


def test_points_of_an_attack_outside_the_ball_count_as_clean(digits):
    net, x, y = digits
    strong = FastGradientMethod(net.estimator, eps=0.3)
    with pytest.warns(
        metrics.OutsideBallWarning, match=r"24 of 24 points of own:Fast.*radius 0.1 .up to 0.3"
    ):
        each = metrics.loss_increase(net, x, y, attack=strong, delta=0.1, reduction="none")
    assert (each == 0).all()
    with pytest.warns(metrics.OutsideBallWarning):
        assert metrics.prediction_change_robustness(net, x, y, attack=strong, delta=0.1) == 1
    with pytest.warns(metrics.OutsideBallWarning):
        smallest = metrics.minimum_loss_increase(net, x, y, attack=strong, delta=0.1, reduction="none")
    assert np.isinf(smallest[np.asarray(net.predict(x)) == y]).all()


@pytest.mark.slow
def test_minimum_norm_attack_in_another_norm(digits):
    """DeepFool minimises L2; what lies in the L∞ ball counts there."""
    net, x, y = digits
    deepfool = af.load_attack("art:DeepFool(max_iter=20)")
    adv = deepfool(net, x, y)
    inside = np.abs(adv.x - x).max(axis=(1, 2, 3)) <= 0.2
    assert 0 < inside.sum() < len(x)
    expected = np.where(inside, np.maximum(net.loss(adv.x, y) - net.loss(x, y), 0), 0)
    got = metrics.loss_increase(net, x, y, attack=deepfool, delta=0.2, norm="Linf", reduction="none")
    np.testing.assert_allclose(got, expected, **close("net"))
    instance = DeepFool(net.estimator, max_iter=20, verbose=False)
    same = metrics.minimum_loss_increase(net, x, y, attack=instance, reduction="none")
    by_name = metrics.minimum_loss_increase(net, x, y, attack=deepfool, reduction="none")
    right = np.asarray(net.predict(x)) == y  # only the plugin leaves a misclassified point alone
    found = np.isfinite(same) & np.isfinite(by_name) & right
    assert found.sum() >= 20
    np.testing.assert_allclose(same[found], by_name[found], **close("steps"))


def test_failed_points_are_left_out(digits):
    net, x, y = digits

    def half(problem):
        points = problem.x.clone()
        points[::2] = torch.nan
        return points

    each = metrics.loss_change_robustness(
        net, x, y, attack=scripted(half), delta=0.1, epsilon=0.1, reduction="none"
    )
    assert np.isnan(each[::2]).all()
    assert (each[1::2] == 1).all()
    for metric in WITH_POINTS:
        got = call(metric, net, x, y, attack=scripted(half), delta=0.1, reduction="none")
        assert np.isnan(got[::2]).all(), metric
    everything = scripted(lambda p: p.x * torch.nan)
    with pytest.raises(InputError, match="no sample with a positive weight is left"):
        metrics.loss_change_robustness(net, x, y, attack=everything, delta=0.1, epsilon=0.1)


def test_several_norms(digits):
    net, x, y = digits
    l2, inf = (scripted(lambda p: p.x, norms=(n,)) for n in ("L2", "Linf"))
    l2.info = AttackInfo(name="test:Other", build=l2.info.build, norms=("L2",))
    with pytest.raises(InputError, match=r"several norms \(L2, Linf\); pass the norm"):
        metrics.loss_increase(net, x, y, attack=[l2, inf], delta=0.1)
    with pytest.warns(metrics.AttackNotRunWarning, match=r"do not support L2: .* \(supports Linf\)"):
        assert metrics.loss_increase(net, x, y, attack=[l2, inf], delta=0.1, norm="L2") == 0
    with pytest.raises(AttackNotUsableError, match="does not support the norm L1"):
        metrics.loss_increase(net, x, y, attack=l2, delta=0.1, norm="L1")
