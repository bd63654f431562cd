"""Attacks of one's own: functions, and objects of ART and torchattacks."""

import functools
import sys

import numpy as np
import pytest
import torch
from tolerances import close

import art_flat as af
from art_flat.attacks import as_attack, load_attacks
from art_flat.errors import AttackNotUsableError, BudgetError, InputError, UnknownNameError
from art_flat.models import as_classifier
from art_flat.testing import AttackContract


def sign_step(module, x, y, delta=0.2, norm="Linf"):
    leaf = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(module(leaf), y)
    return x + delta * torch.autograd.grad(loss, leaf)[0].sign()


def other_step(module, x, y):
    return x


class TestFunctionContract(AttackContract):
    attack = as_attack(sign_step, name="step", norms="Linf", budget="fixed")
    strength = 0.5


def test_a_function_runs_once_and_is_measured(digits):
    net, x, y = digits
    attack = as_attack(sign_step)
    assert (attack.name, attack.info.budget, attack.info.norms) == (
        "own:sign_step", "none", ("Linf", "L2", "L1", "L0"),
    )  # fmt: skip
    far = attack(net, x, y, delta=0.1, norm="Linf")
    near = attack(net, x, y, delta=0.21, norm="Linf")
    np.testing.assert_array_equal(far.x, near.x)
    assert not far.success.any()
    assert near.success.mean() > 0.5
    assert (near.forwards, near.backwards) == (1, 1)


def test_a_function_with_a_budget_gets_it(digits):
    net, x, y = digits
    seen = []

    def mine(module, x, y, *, delta, norm):
        seen.append((delta, norm))
        return x

    as_attack(mine, budget="fixed")(net, x, y, delta=0.3, norm="L2")
    assert seen == [(0.3, "L2")]
    with pytest.raises(InputError, match="needs `delta`"):
        as_attack(mine, budget="fixed")(net, x, y, norm="L2")


def test_a_function_may_spoil_its_arguments_and_give_arrays(digits):
    net, x, y = digits
    before = x.copy()

    def spoil(module, x, y):
        y.zero_()
        return x.zero_().numpy()

    adv = as_attack(spoil)(net, x, y)
    assert (adv.x == 0).all()
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(adv.success, net.predict(adv.x) != y)


def test_what_is_no_batch_of_points_is_an_error(digits):
    net, x, y = digits
    with pytest.raises(BudgetError, match="returned NoneType where points of shape"):
        as_attack(lambda module, x, y: None, name="nothing")(net, x, y)


def test_an_attack_passes_through():
    pgd = af.load_attack("art_flat:PGD")
    assert as_attack(pgd) is pgd


@pytest.mark.parametrize(
    ("obj", "options", "error", "words"),
    [
        (3, {}, InputError, "cannot attack with 3; pass a function"),
        ("art_flat:PGD", {}, InputError, "a name to load_attack"),
        (dict, {}, InputError, "not its class"),
        (
            lambda module, x, y: x,
            {},
            InputError,
            r"has no name for the records; pass one: as_attack\(..., name=",
        ),
        (functools.partial(lambda module, x, y: x), {}, InputError, "has no name for the records"),
        (sign_step, {"name": "a b"}, InputError, "must be a word without spaces"),
        (sign_step, {"norms": "L3"}, UnknownNameError, "unknown norm 'L3'"),
    ],
)
def test_bad_arguments(obj, options, error, words):
    with pytest.raises(error, match=words):
        as_attack(obj, **options)


def test_the_text_of_a_function_is_part_of_its_hash():
    assert as_attack(sign_step).hash == as_attack(sign_step).hash
    assert as_attack(sign_step).hash != as_attack(other_step, name="sign_step").hash
    assert as_attack(sign_step).hash != as_attack(sign_step, version="2").hash


def test_load_attacks_takes_them_and_wants_different_names():
    assert [a.name for a in load_attacks(sign_step)] == ["own:sign_step"]
    assert [a.name for a in load_attacks([sign_step, "art_flat:PGD", sign_step])] == [
        "own:sign_step", "art_flat:PGD",
    ]  # fmt: skip
    with pytest.raises(InputError, match="two different attacks are called own:sign_step"):
        load_attacks([sign_step, as_attack(other_step, name="sign_step")])


def test_evaluate_takes_them_and_reads_them_at_every_delta(digits, tmp_path):
    net, x, y = digits
    calls = []

    def mine(module, x, y):
        calls.append(len(x))
        return sign_step(module, x, y)

    deltas = {"Linf": [0.1, 0.21, 0.3]}
    results = af.evaluate(net, x, y, attacks=[mine], deltas=deltas, certify=None, out=tmp_path / "run")
    summary = results.summary().set_index("delta")
    assert calls == [len(x)]
    assert summary["robust_accuracy"][0.1] == summary["accuracy"][0.1]
    assert summary["robust_accuracy"][0.21] == summary["robust_accuracy"][0.3] < 0.5
    af.evaluate(net, x, y, attacks=[mine], deltas=deltas, certify=None, out=tmp_path / "run")
    assert calls == [len(x)]


def test_an_art_object_keeps_its_settings_and_finds_what_art_finds(digits):
    from art.attacks.evasion import FastGradientMethod

    net, x, y = digits
    theirs = FastGradientMethod(net.estimator, eps=0.2, norm=np.inf)
    attack = as_attack(theirs)
    assert attack.info.norms == ("Linf",)
    assert attack.info.budget == "none"
    assert attack.params["eps"] == 0.2
    assert attack.name.startswith("own:FastGradientMethod(batch_size=32, eps=0.2,")
    adv = attack(net, x, y, delta=0.1)
    np.testing.assert_allclose(adv.x, theirs.generate(x, y=np.eye(10, dtype=np.float32)[y]), **close("value"))
    assert not adv.success.any()
    assert attack(net, x, y, delta=0.21).success.mean() > 0.5
    assert attack.hash != as_attack(FastGradientMethod(net.estimator, eps=0.3)).hash
    assert load_attacks(theirs)[0].name == attack.name
    with pytest.raises(InputError, match="got its radius when it was made"):
        as_attack(theirs, budget="fixed")


def test_a_targeted_art_object_needs_targets(digits):
    from art.attacks.evasion import ProjectedGradientDescent

    net, x, y = digits
    theirs = ProjectedGradientDescent(
        net.estimator, eps=0.5, eps_step=0.05, max_iter=20, targeted=True, verbose=False
    )
    attack = as_attack(theirs)
    with pytest.raises(AttackNotUsableError, match="needs target classes: pass `target`"):
        attack(net, x, y)
    target = (y + 1) % 10
    adv = attack(net, x, y, target=target)
    np.testing.assert_array_equal(adv.success, net.predict(adv.x) == target)
    assert adv.success.mean() > 0.5


@pytest.mark.parametrize("high", [1, 255])
def test_a_torchattacks_object_works_in_unit_range(digits, high):
    torchattacks = pytest.importorskip("torchattacks")
    net, x, y = digits

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net.estimator.model

        def forward(self, x):
            return self.inner(x / high)

    wide = as_classifier(Scaled(), input_shape=(1, 8, 8), nb_classes=10, clip_values=(0, high))
    wide = af.adapt(wide)
    theirs = torchattacks.FGSM(net.estimator.model, eps=0.2)
    attack = as_attack(theirs, norms=["Linf"])
    assert attack.params["eps"] == 0.2
    assert "device" not in attack.params
    adv = attack(wide, x * high, y, delta=0.21 * high)
    np.testing.assert_allclose(np.asarray(adv.distance), 0.2 * high, **close("value", scale=high))
    expected = theirs(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    np.testing.assert_allclose(adv.x, expected * high, **close("value", scale=high))
    assert adv.success.mean() > 0.5


def test_a_targeted_torchattacks_object(digits):
    torchattacks = pytest.importorskip("torchattacks")
    net, x, y = digits
    theirs = torchattacks.PGD(net.estimator.model, eps=0.5, alpha=0.05, steps=20)
    theirs.set_mode_targeted_by_label(quiet=True)
    target = (y + 1) % 10
    with pytest.raises(AttackNotUsableError, match="needs target classes: pass `target`"):
        as_attack(theirs)(net, x, y)
    assert as_attack(theirs)(net, x, y, target=target, delta=0.51, norm="Linf").success.mean() > 0.5
    theirs.set_mode_targeted_least_likely(quiet=True)
    assert as_attack(theirs)(net, x, y, delta=0.51, norm="Linf").success.mean() > 0.3


def test_no_library_is_imported_to_find_out(monkeypatch):
    for module in ("art", "art.attacks", "art.attacks.attack", "torchattacks", "torchattacks.attack"):
        monkeypatch.setitem(sys.modules, module, None)  # an import of it would raise now
    assert as_attack(sign_step).name == "own:sign_step"


def test_an_object_counts_at_the_radius_it_was_made_with(digits):
    """Its points leave the ball by rounding errors of float32, which do not put them outside."""
    from art.attacks.evasion import ProjectedGradientDescent

    net, x, y = digits
    for eps in (0.3, 8 / 255):
        attack = ProjectedGradientDescent(
            net.estimator, eps=eps, eps_step=eps / 4, max_iter=10, verbose=False
        )
        assert (as_attack(attack, norms="Linf")(net, x, y).distance <= eps).all()
