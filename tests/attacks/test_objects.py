"""Attack objects of other libraries: their range, normalisation, model, labels and mode are converted or refused."""

import numpy as np
import pytest
import torch
from torch import nn

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.errors import AttackNotUsableError, InputError

MEAN, STD, SHAPE, K, N = [0.4, 0.5, 0.3], [0.2, 0.3, 0.25], (3, 4, 4), 4, 10
mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))


class Stretch(nn.Module):
    """(x − shift)/scale, then a network."""

    def __init__(self, inner, shift, scale):
        super().__init__()
        self.inner, self.shift, self.scale = inner, shift, scale

    def forward(self, x):
        return self.inner((x - self.shift) / self.scale)


def network(seed=0):
    """A random linear classifier of normalised images."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(48, K)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(K, 48, generator=generator))
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer).eval()


def classifier(model, clip=(0.0, 1.0), preprocessing=None, classes=K, shape=SHAPE):
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        model, nn.CrossEntropyLoss(), shape, classes, clip_values=clip, preprocessing=preprocessing
    )


def samples():
    """Images in [0, 1] and the labels that the network gives them, some changed."""
    u = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(1))
    y = Stretch(network(), mean, std)(u).argmax(dim=1)
    y[:2] = (y[:2] + 1) % K
    return u, y


def array(value):
    return np.array(value, dtype=np.float32)


def normalised_range():
    low, high = (0 - mean) / std, (1 - mean) / std
    return tuple(limit.expand(1, *SHAPE)[0].numpy() for limit in (low, high))


net = network()
PREPROCESSING = array(MEAN).reshape(3, 1, 1), array(STD).reshape(3, 1, 1)
SETUPS = {
    # name: (classifier, from pixels to clip units, the object's model, whether it is told the normalisation)
    "preprocessing": (classifier(net, preprocessing=PREPROCESSING), lambda u: u, net, True),
    "forgotten": (classifier(net, preprocessing=PREPROCESSING), lambda u: u, net, False),
    "inside": (classifier(Stretch(net, mean, std)), lambda u: u, net, True),
    "whole": (classifier(Stretch(net, mean, std)), lambda u: u, Stretch(net, mean, std), False),
    "normalised data": (classifier(net, normalised_range()), lambda u: (u - mean) / std, net, True),
    "normalised data, one range": (classifier(net, (-3.0, 3.0)), lambda u: (u - mean) / std, net, True),
    "bytes": (classifier(Stretch(net, 255 * mean, 255 * std), (0.0, 255.0)), lambda u: 255 * u, net, True),
    "bytes, own model": (
        classifier(Stretch(net, 255 * mean, 255 * std), (0.0, 255.0)),
        lambda u: 255 * u,
        Stretch(net, 255 * mean, 255 * std),
        False,
    ),
    "no range": (classifier(Stretch(net, mean, std), (-np.inf, np.inf)), lambda u: u, net, True),
}  # fmt: skip


def in_torchattacks(build, model, told):
    attack = build(model)
    if told:
        attack.set_normalization_used(mean=MEAN, std=STD)
    return attack


def ascents():
    torchattacks = pytest.importorskip("torchattacks")
    return {
        "FGSM": lambda model: torchattacks.FGSM(model, eps=0.05),
        "PGD": lambda model: torchattacks.PGD(model, eps=0.05, alpha=0.02, steps=4, random_start=False),
        "MultiAttack": lambda model: torchattacks.MultiAttack(
            [torchattacks.FGSM(model, eps=0.01), torchattacks.PGD(model, eps=0.05, random_start=False)]
        ),
    }


@pytest.mark.parametrize("attack", ["FGSM", "PGD", "MultiAttack"])
@pytest.mark.parametrize("setup", SETUPS)
def test_torchattacks_objects_find_what_they_find_on_plain_pixels(setup, attack):
    estimator, from_pixels, model, told = SETUPS[setup]
    build = ascents()[attack]
    u, y = samples()
    expected = build(Stretch(network(), mean, std))(u, y)
    theirs = in_torchattacks(build, model, told)
    before = {k: vars(theirs)[k] for k in ("model", "_normalization_applied")}
    adv = as_attack(theirs, norms="Linf")(af.adapt(estimator), from_pixels(u), y)
    np.testing.assert_allclose(
        adv.x, from_pixels(expected), rtol=1e-4, atol=1e-3 * float(from_pixels(u).std())
    )
    assert {k: vars(theirs)[k] for k in before} == before
    assert np.asarray(adv.success)[2:].any()


def test_normalisation_of_another_model_is_its_own():
    """A transfer: the object's model and normalisation make the points, the classifier scores them."""
    build, (u, y), other = ascents()["PGD"], samples(), network(seed=5)
    theirs = in_torchattacks(build, other, told=True)
    adv = as_attack(theirs)(af.adapt(SETUPS["inside"][0]), u, y)
    np.testing.assert_allclose(adv.x, build(Stretch(other, mean, std))(u, y), atol=1e-5)


def test_modes_of_torchattacks_objects():
    u, y = samples()
    adapted, build = af.adapt(SETUPS["inside"][0]), ascents()["PGD"]
    theirs, plain = in_torchattacks(build, net, told=True), build(Stretch(network(), mean, std))
    assert as_attack(theirs).info.maximises_loss
    default = as_attack(theirs)
    for attack in (theirs, plain):
        attack.set_mode_targeted_least_likely(quiet=True)
    np.testing.assert_allclose(as_attack(theirs)(adapted, u, y).x, plain(u, y), atol=1e-5)
    assert not as_attack(theirs).info.maximises_loss
    assert as_attack(theirs).hash != default.hash
    for attack in (theirs, plain):
        attack.set_mode_targeted_by_label(quiet=True)
    target = (y + 1) % K
    with pytest.raises(AttackNotUsableError, match="needs target classes"):
        as_attack(theirs)(adapted, u, y)
    np.testing.assert_allclose(as_attack(theirs)(adapted, u, y, target=target).x, plain(u, target), atol=1e-5)
    theirs.set_model_training_mode(model_training=True)
    with pytest.raises(AttackNotUsableError, match=r"training mode.*set_model_training_mode\(False\)"):
        as_attack(theirs)(adapted, u, y, target=target)


@pytest.mark.parametrize("clip", [(-np.inf, np.inf), (-1e5, 1e5)], ids=str)
def test_a_range_that_says_nothing_of_zero_and_one_is_refused(clip):
    u, y = samples()
    adapted = af.adapt(classifier(network(), clip))
    with pytest.raises(
        AttackNotUsableError, match=r'range of the data, or use load_attack\("torchattacks:FGSM"\)'
    ):
        as_attack(ascents()["FGSM"](network()))(adapted, (u - mean) / std, y)


def one_step(estimator, eps):
    from art.attacks.evasion import FastGradientMethod

    return FastGradientMethod(estimator, eps=eps, norm=np.inf)


def test_art_objects_with_another_range_of_the_same_function():
    u, y = samples()
    one, wide = classifier(Stretch(net, mean, std)), SETUPS["bytes"][0]
    expected = one_step(one, 0.05).generate(u.numpy(), y=np.eye(K, dtype=np.float32)[y])
    adv = as_attack(one_step(wide, 0.05 * 255), norms="Linf")(af.adapt(one), u.numpy(), y)
    np.testing.assert_allclose(adv.x, expected, atol=1e-6)
    adv = as_attack(one_step(one, 0.05))(af.adapt(wide), 255 * u.numpy(), y)
    np.testing.assert_allclose(adv.x, 255 * expected, atol=1e-3)


def test_art_objects_of_another_task_are_refused():
    u, y = samples()
    adapted = af.adapt(SETUPS["preprocessing"][0])
    with pytest.raises(AttackNotUsableError, match="same weights that computes another function"):
        as_attack(one_step(classifier(net), 0.05))(adapted, u, y)
    flat = classifier(nn.Linear(48, K), shape=(48,))
    with pytest.raises(
        AttackNotUsableError, match=r"inputs of shape \(48,\), the classifier takes \(3, 4, 4\)"
    ):
        as_attack(one_step(flat, 0.05))(adapted, u, y)
    two = classifier(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), classes=2)
    with pytest.raises(AttackNotUsableError, match="made for 2 classes, the classifier has 4"):
        as_attack(one_step(two, 0.05))(adapted, u, y)


def test_art_objects_that_read_y_as_a_target_get_a_wrong_class():
    from art.attacks.evasion import SaliencyMapMethod

    u, y = samples()
    one = classifier(Stretch(net, mean, std))
    attack = as_attack(SaliencyMapMethod(one, theta=0.3, gamma=0.5, verbose=False))
    adv = attack(af.adapt(one), u, y)
    assert np.asarray(adv.success)[2:].mean() >= 0.5
    target = (y + 2) % K
    aimed = attack(af.adapt(one), u, y, target=target)
    assert (np.asarray(aimed.success) == (one.predict(aimed.x.numpy()).argmax(1) == target.numpy())).all()


def test_art_objects_that_return_no_points_are_refused():
    from art.attacks.evasion import AdversarialPatchPyTorch

    patch = AdversarialPatchPyTorch(classifier(net), patch_shape=(3, 2, 2), verbose=False)
    with pytest.raises(
        InputError, match=r'not accepted.*pass the name "art:AdversarialPatchPyTorch" instead'
    ):
        as_attack(patch)


def test_what_an_object_is_known_for():
    from art.attacks.evasion import CarliniL2Method, ProjectedGradientDescent, SquareAttack

    one = classifier(net)
    assert as_attack(ProjectedGradientDescent(one, verbose=False)).info.maximises_loss
    assert as_attack(one_step(one, 0.1)).info.maximises_loss
    assert not as_attack(ProjectedGradientDescent(one, targeted=True, verbose=False)).info.maximises_loss
    assert not as_attack(one_step(one, 0.1), maximises_loss=False).info.maximises_loss
    assert not as_attack(CarliniL2Method(one, verbose=False)).info.maximises_loss
    assert as_attack(SquareAttack(one, verbose=False)).info.access == "black-box"
    other = classifier(net)
    other._loss = nn.MultiMarginLoss()
    assert not as_attack(ProjectedGradientDescent(other, verbose=False)).info.maximises_loss

    class Mine(ProjectedGradientDescent):
        pass

    assert not as_attack(Mine(one, verbose=False)).info.maximises_loss


def test_the_summary_marks_arts_pgd_as_a_loss_maximiser():
    from art.attacks.evasion import ProjectedGradientDescent

    u, y = samples()
    one = classifier(Stretch(net, mean, std))
    attack = ProjectedGradientDescent(one, eps=0.05, eps_step=0.02, max_iter=3, verbose=False)
    results = af.evaluate(one, u, y, attacks=[attack], deltas={"Linf": [0.05]}, certify=None)
    assert results.summary()["maximises_loss"].all()
    assert "†" not in str(results)


@pytest.mark.parametrize("clip", [(0.0, 1.0), (0.0, 255.0), (-np.inf, np.inf)], ids=str)
def test_foolbox_objects_follow_delta(clip):
    foolbox = pytest.importorskip("foolbox")
    u, y = samples()
    high = 255.0 if clip[1] == 255 else 1.0
    adapted = af.adapt(classifier(Stretch(net, high * mean, high * std), clip))
    theirs = foolbox.attacks.LinfPGD(steps=5, rel_stepsize=0.5, random_start=False)
    attack = as_attack(theirs)
    assert (attack.info.budget, attack.info.norms, attack.info.maximises_loss) == ("fixed", ("Linf",), True)
    adv = attack(adapted, high * u, y, delta=0.05 * high)
    assert np.asarray(adv.within_budget).all()
    assert (adv.x - high * u).abs().amax().item() == pytest.approx(0.05 * high, rel=1e-3)
    before = nn.functional.cross_entropy(Stretch(net, mean, std)(u), y, reduction="none")
    after = nn.functional.cross_entropy(Stretch(net, mean, std)(adv.x / high), y, reduction="none")
    assert (after > before).all()
    known = af.load_attack(
        "foolbox:LinfProjectedGradientDescentAttack", steps=5, rel_stepsize=0.5, random_start=False
    )
    np.testing.assert_array_equal(adv.x, known(adapted, high * u, y, delta=0.05 * high).x)


def test_other_foolbox_objects():
    foolbox = pytest.importorskip("foolbox")
    u, y = samples()
    adapted = af.adapt(SETUPS["inside"][0])
    nearest = as_attack(foolbox.attacks.L2DeepFoolAttack())
    assert (nearest.info.budget, nearest.info.norms) == ("minimum-norm", ("L2",))
    assert np.asarray(nearest(adapted, u, y).success)[2:].all()
    noise = as_attack(foolbox.attacks.LinfRepeatedAdditiveUniformNoiseAttack(repeats=3))
    assert noise.info.access == "black-box"
    assert np.asarray(noise(adapted, u, y, delta=0.1).within_budget).all()
    results = af.evaluate(
        adapted, u, y, attacks=[foolbox.attacks.LinfFastGradientAttack(random_start=False)],
        deltas={"Linf": [0.01, 0.1]}, certify=None,
    )  # fmt: skip
    assert results.summary()["robust_accuracy"].is_monotonic_decreasing
