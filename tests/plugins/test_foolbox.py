"""The attacks of foolbox: the contract on each, and conversions and rejections of the wrapper."""

import sys

import numpy as np
import pytest
import torch
from tolerances import close

pytest.importorskip("foolbox", reason="foolbox is not installed")

import foolbox

import art_flat as af
from art_flat.attacks import list_attacks, load_attack
from art_flat.errors import AttackNotUsableError, ParameterError
from art_flat.models import as_classifier, fcn
from art_flat.testing import AttackContract, small_problem

INFOS = list_attacks("foolbox")
BRENDEL_BETHGE = {"L0BrendelBethge", "L1BrendelBethge", "L2BrendelBethge", "LinfinityBrendelBethge"}
DELTA = {"Linf": 0.3, "L2": 2.0, "L1": 10.0, "L0": 20}

# name: parameters, floor under the share of right images that must turn wrong; 0.5 and the defaults for the others
CASES = {
    "SparseL1DescentAttack": ("", 0.5),
    "VirtualAdversarialAttack": ("", 0.1),
    "L2ContrastReductionAttack": ("", 0.0),
    "L2AdditiveGaussianNoiseAttack": ("", 0.0),
    "L2AdditiveUniformNoiseAttack": ("", 0.0),
    "L2ClippingAwareAdditiveGaussianNoiseAttack": ("", 0.0),
    "L2ClippingAwareAdditiveUniformNoiseAttack": ("", 0.0),
    "LinfAdditiveUniformNoiseAttack": ("", 0.0),
    "L2RepeatedAdditiveGaussianNoiseAttack": ("", 0.1),
    "L2RepeatedAdditiveUniformNoiseAttack": ("", 0.1),
    "L2ClippingAwareRepeatedAdditiveGaussianNoiseAttack": ("", 0.3),
    "L2ClippingAwareRepeatedAdditiveUniformNoiseAttack": ("", 0.3),
    "LinfRepeatedAdditiveUniformNoiseAttack": ("repeats=200", 0.1),
    "L2CarliniWagnerAttack": ("binary_search_steps=2, steps=30, initial_const=1.0, stepsize=0.05", 0.5),
    "EADAttack": ("binary_search_steps=2, steps=30, initial_const=1.0", 0.5),
    "NewtonFoolAttack": ("steps=30", 0.1),
    "DDNAttack": ("steps=30", 0.5),
    "L0FMNAttack": ("steps=30", 0.5),
    "L1FMNAttack": ("steps=50", 0.3),
    "L2FMNAttack": ("steps=30", 0.5),
    "LInfFMNAttack": ("steps=30", 0.5),
    "BoundaryAttack": ("steps=100", 0.3),
    "HopSkipJumpAttack": ("steps=2, initial_gradient_eval_steps=20, max_gradient_eval_steps=50", 0.3),
    "PointwiseAttack": ("", 0.3),
    "GaussianBlurAttack": ("steps=10", 0.1),
    "BinarySearchContrastReductionAttack": ("", 0.1),
    "LinearSearchContrastReductionAttack": ("steps=10", 0.1),
    "LinearSearchBlendedUniformNoiseAttack": ("steps=10, directions=20", 0.1),
    "InversionAttack": ("", 0.1),
    "SaltAndPepperNoiseAttack": ("steps=20", 0.1),
    "SpatialAttack": ("max_translation=2, num_translations=3, num_rotations=3", 0.3),
}
WIDE = {
    "BoundaryAttack": 4.0,
    "HopSkipJumpAttack": 4.0,
    "NewtonFoolAttack": 6.0,
    "VirtualAdversarialAttack": 3.0,
}
FAR = {
    "PointwiseAttack",
    "GaussianBlurAttack",
    "InversionAttack",
    "SaltAndPepperNoiseAttack",
    "SpatialAttack",
}
"""Attacks that know no small distance: what is tested is that they find a wrong point anywhere."""


def few(n=4):
    net, x, y = small_problem()
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:n]
    return net, x[right], y[right]


def contract(name, info):
    params, floor = CASES.get(name, ("", 0.5))
    norm = info.norms[0]
    far = name in FAR or "ContrastReduction" in name or "Blended" in name
    delta = WIDE.get(name, {"L2": 8.0, "L0": 64}[norm] if far else DELTA[norm])
    body = {"attack": f"foolbox:{name}({params})", "norm": norm, "delta": delta, "strength": floor}
    body["problem"] = pytest.fixture(lambda self: few())
    return pytest.mark.slow(type(f"Test{name}", (AttackContract,), body))


NAMES = {
    info.name.split(":")[1]: info
    for info in INFOS.values()
    if info.usability != "refused" and info.name.split(":")[1].removesuffix("Attack") not in BRENDEL_BETHGE
}
globals().update({f"Test{name}": contract(name, info) for name, info in NAMES.items()})


def test_every_class_of_the_library_is_listed():
    listed = {name.split(":")[1] for name in INFOS}
    assert len(listed) == 58
    assert all(hasattr(foolbox.attacks, name) for name in listed)
    assert not [info.name for info in INFOS.values() if "art_flat does not know it" in info.reason]
    idle = {name for name, (_, floor) in CASES.items() if floor == 0}
    assert idle <= {name.split(":")[1] for name, info in INFOS.items() if info.access == "none"}


def test_infos_say_what_readers_need():
    for info in INFOS.values():
        assert info.version.startswith("3.3")
        assert bool(info.reason) == (info.usability != "usable"), info.name
        assert not info.defaults.keys() & {"distance", "init_attack", "tensorboard"}, info.name
    pgd = INFOS["foolbox:LinfProjectedGradientDescentAttack"]
    assert pgd.maximises_loss
    assert any("2.5 delta / steps" in note for note in pgd.notes)


def test_radius_and_steps_are_translated(monkeypatch):
    seen = {}

    def run(self, model, inputs, criterion, *, epsilon):
        seen.update(
            vars(self), epsilon=epsilon, bounds=tuple(model.bounds), labels=criterion.labels.raw, x=inputs
        )
        return inputs

    monkeypatch.setattr(foolbox.attacks.LinfProjectedGradientDescentAttack, "run", run)
    net, x, y = few()
    double = as_classifier(net.estimator.model, input_shape=(1, 8, 8), nb_classes=10, clip_values=(0.0, 2.0))
    attack = load_attack("foolbox:LinfProjectedGradientDescentAttack(steps=5)")
    attack(af.adapt(double), x, y, delta=0.4)
    assert seen["epsilon"] == pytest.approx(0.2)
    assert seen["abs_stepsize"] == pytest.approx(0.1)
    assert seen["bounds"] == (0, 1)
    np.testing.assert_allclose(seen["x"].numpy(), x / 2, **close("value"))
    assert seen["labels"].dtype == torch.int64
    own = load_attack("foolbox:LinfProjectedGradientDescentAttack(steps=5, abs_stepsize=0.06)")
    own(af.adapt(double), x, y, delta=0.4)
    assert seen["abs_stepsize"] == pytest.approx(0.03)
    share = load_attack("foolbox:LinfProjectedGradientDescentAttack(steps=5, rel_stepsize=0.5)")
    assert share.fixed_steps(0.4).size == pytest.approx(0.2)


def test_parameters_are_checked():
    with pytest.raises(ParameterError, match="pass `delta` to the call"):
        load_attack("foolbox:LinfFastGradientAttack(epsilon=0.1)")
    with pytest.raises(ParameterError, match="did you mean 'steps'"):
        load_attack("foolbox:DDNAttack(step=5)")
    with pytest.raises(ParameterError, match="not both"):
        load_attack("foolbox:L2BasicIterativeAttack(rel_stepsize=0.1, abs_stepsize=0.1)")


@pytest.mark.parametrize(
    ("spec", "norm", "delta", "floor"),
    [
        ("LinfProjectedGradientDescentAttack(steps=20)", "Linf", 0.5, 0.9),
        (
            "L2CarliniWagnerAttack(binary_search_steps=3, steps=50, initial_const=1.0, stepsize=0.05)",
            "L2",
            4.0,
            0.5,
        ),
        ("DDNAttack(steps=50)", "L2", 4.0, 0.9),
    ],
)
def test_targets_are_hit(spec, norm, delta, floor):
    net, x, y = few(6)
    target = (y + 1) % 10
    result = load_attack(f"foolbox:{spec}")(net, x, y, delta=delta, norm=norm, target=target)
    hit = np.asarray(net.predict(result.x)) == target
    np.testing.assert_array_equal(result.success, hit & result.within_budget)
    assert hit.mean() >= floor


def test_nearest_point_attacks_leave_wrong_points_and_take_vectors():
    net, x, y = few()
    found = load_attack("foolbox:L2DeepFoolAttack")(net, x, (y + 1) % 10)
    np.testing.assert_array_equal(found.x, x)
    plain = af.adapt(as_classifier(fcn(20, (16,), 3), input_shape=(20,), nb_classes=3))
    v = np.random.default_rng(0).random((6, 20)).astype(np.float32)
    label = np.asarray(plain.predict(v))
    assert load_attack("foolbox:L2DeepFoolAttack")(plain, v, label).success.mean() >= 0.5
    with pytest.raises(AttackNotUsableError, match="needs images"):
        load_attack("foolbox:SpatialAttack")(plain, v, label)


@pytest.mark.slow
def test_without_a_start_a_sample_is_failed_and_the_others_are_attacked():
    net, x, y = few()

    class Wall(foolbox.attacks.LinearSearchBlendedUniformNoiseAttack):
        def run(self, model, inputs, criterion, **_):
            if len(inputs) > 1 or criterion.labels.raw[0] == y[0]:
                return inputs  # found nothing
            return super().run(model, inputs, criterion)

    attack = load_attack("foolbox:BoundaryAttack(steps=5)")
    real = attack.row.library_class
    patch = pytest.MonkeyPatch()
    patch.setattr(foolbox.attacks, "BoundaryAttack", lambda **k: real(init_attack=Wall(), **k))
    patch.setattr(type(attack.row), "signature", property(lambda self: {"steps": None}))
    try:
        result = attack(net, x, y)
    finally:
        patch.undo()
    stuck = y == y[0]
    assert set(result.status[stuck]) == {"failed"}
    assert result.success[~stuck].all()


def test_absence_is_no_news_but_is_said(monkeypatch, recwarn):
    monkeypatch.setitem(sys.modules, "foolbox", None)  # as if it were not installed
    assert not list_attacks("foolbox")
    with pytest.raises(AttackNotUsableError, match=r'pip install "art-flat\[foolbox\]"'):
        load_attack("foolbox:DDNAttack")
    assert not recwarn.list
