"""ART's attacks: the list of them, and the parameters that reach the library."""

import inspect

import art.attacks.evasion
import numpy as np
import pytest
from art.attacks.attack import EvasionAttack
from art_problems import INFOS, few, grey, seen
from tolerances import close
from torch import nn

import art_flat as af
from art_flat.attacks import load_attack
from art_flat.errors import AttackNotUsableError, ParameterError
from art_flat.models import as_classifier

# The list


def test_no_evasion_attack_of_art_is_missing():
    exported = {
        name
        for name, thing in vars(art.attacks.evasion).items()
        if inspect.isclass(thing) and issubclass(thing, EvasionAttack)
    }
    listed = {name.split(":")[1] for name in INFOS}
    assert exported <= listed
    assert listed - exported <= {"BrendelBethgeAttack"}


def test_infos_say_what_readers_need():
    for info in INFOS.values():
        assert info.version.startswith("1.")
        assert bool(info.reason) == (info.usability != "usable"), info.name
        hidden = {"estimator", "classifier", "norm", "targeted", "verbose", "summary_writer"}
        assert not info.defaults.keys() & hidden, info.name
        if info.budget == "fixed" and info.usability != "refused":
            assert not info.defaults.keys() & {"eps", "th"}, info.name


def test_only_attacks_that_climb_the_loss_to_the_end_say_so():
    climbers = {name.split(":")[1] for name, info in INFOS.items() if info.maximises_loss}
    assert climbers == {
        "FastGradientMethod",
        "BasicIterativeMethod",
        "ProjectedGradientDescent",
        "MomentumIterativeMethod",
    }


@pytest.mark.parametrize("name", [n for n, info in INFOS.items() if info.usability == "refused"])
def test_refused_attacks_say_why_before_any_forward_pass(name):
    net, x, y = few()
    passes = []
    hook = net.estimator.model.register_forward_hook(lambda *_: passes.append(1))
    try:
        info = INFOS[name]
        with pytest.raises(AttackNotUsableError, match="cannot be used") as error:
            load_attack(name)(net, x, y, delta=0.3)
    finally:
        hook.remove()
    assert info.reason in str(error.value)
    assert not passes


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("BrendelBethgeAttack", "numba"),
        ("CompositeAdversarialAttackPyTorch", "kornia"),
    ],
)
def test_missing_packages_are_named(name, package):
    info = INFOS[f"art:{name}"]
    if info.usability != "refused":
        pytest.skip(f"{package} is installed")
    assert f"package {package}" in info.reason
    with pytest.raises(AttackNotUsableError, match=package):
        load_attack(f"art:{name}", whatever=1)(*few())


# Parameters


@pytest.mark.parametrize(
    ("name", "key", "instead"),
    [
        ("ProjectedGradientDescent", "eps", "delta"),
        ("FeatureAdversariesPyTorch", "delta", "delta"),
        ("PixelAttack", "th", "delta"),
        ("ProjectedGradientDescent", "norm", "norm"),
        ("CarliniL2Method", "targeted", "target"),
    ],
)
def test_what_the_call_says_is_no_parameter(name, key, instead):
    with pytest.raises(ParameterError, match=f"`{key}` follows from `{instead}=` of the call"):
        load_attack(f"art:{name}", **{key: 0.1})


def test_unknown_parameters_are_answered_with_the_closest():
    with pytest.raises(ParameterError, match="'max_iters'; did you mean 'max_iter'"):
        load_attack("art:ProjectedGradientDescent", max_iters=3)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_budget_norm_and_labels_reach_the_library(monkeypatch, norm):
    records = seen(monkeypatch, "ProjectedGradientDescent")
    net, x, y = few()
    load_attack("art:ProjectedGradientDescent(max_iter=20)")(net, x, y, delta=0.4, norm=norm)
    (record,) = records
    assert record["eps"] == pytest.approx(0.4)
    assert record["eps_step"] == pytest.approx(2.5 * 0.4 / 20)
    assert record["norm"] == {"Linf": np.inf, "L2": 2, "L1": 1}[norm]
    assert record["max_iter"] == 20
    assert record["batch_size"] == len(x)
    assert record["targeted"] is False
    assert record["verbose"] is False
    assert record["x"].dtype == record["y"].dtype == np.float32
    np.testing.assert_array_equal(record["x"], x)
    np.testing.assert_array_equal(record["y"], np.eye(10)[y])


def test_lengths_are_scaled_to_the_unit_range(monkeypatch):
    records = seen(monkeypatch, "ProjectedGradientDescent")
    net, x, y = grey()
    attack = load_attack("art:ProjectedGradientDescent(max_iter=5)")
    attack(net, x, y, delta=51.0, norm="Linf")
    load_attack("art:ProjectedGradientDescent(eps_step=10.2)")(net, x, y, delta=51.0, norm="Linf")
    assert records[0]["eps"] == pytest.approx(0.2)
    assert records[0]["eps_step"] == pytest.approx(0.1)
    assert records[1]["eps_step"] == pytest.approx(0.04)
    np.testing.assert_allclose(records[0]["x"], x / 255, **close("value"))
    assert tuple(records[0]["view"].clip_values) == (0, 1)


@pytest.mark.parametrize(
    ("name", "step"), [("AutoProjectedGradientDescent", 0.8), ("AutoConjugateGradient", 0.8)]
)
def test_attacks_that_only_halve_their_step_start_with_two_delta(monkeypatch, name, step):
    records = seen(monkeypatch, name)
    load_attack(f"art:{name}")(*few(), delta=0.4, norm="L2")
    assert records[0]["eps_step"] == pytest.approx(step)


@pytest.mark.parametrize(("delta", "channels", "pixels"), [(7, 1, 7), (7, 3, 2)])
def test_pixel_budget_is_in_whole_pixels(monkeypatch, delta, channels, pixels):
    records = seen(monkeypatch, "PixelAttack")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, 4))
    net = af.adapt(as_classifier(model, input_shape=(channels, 8, 8), nb_classes=4))
    load_attack("art:PixelAttack")(net, np.full((2, channels, 8, 8), 0.5), np.zeros(2, int), delta=delta)
    assert records[0]["th"] == pixels


def test_no_room_for_a_pixel_leaves_the_points_as_they_are():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    net = af.adapt(as_classifier(model, input_shape=(3, 8, 8), nb_classes=4))
    x = np.full((2, 3, 8, 8), 0.5, dtype=np.float32)
    result = load_attack("art:PixelAttack")(net, x, np.zeros(2, int), delta=2)
    np.testing.assert_array_equal(result.x, x)


def test_threshold_radius_leaves_room_for_the_fractions_art_cuts_off():
    net, x, y = few(8)
    result = load_attack("art:ThresholdAttack(max_iter=2)")(net, x, y, delta=0.3)
    assert (result.distance > 0).any()
    assert (result.distance <= 0.3).all()


def test_large_batches_are_split(monkeypatch):
    records = seen(monkeypatch, "DeepFool")
    net, x, y = few()
    many, labels = np.repeat(x, 40, axis=0), np.repeat(y, 40)
    load_attack("art:DeepFool")(net, many, labels)
    assert records[0]["batch_size"] == 128
