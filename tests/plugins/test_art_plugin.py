"""ART's attacks: conversions, workarounds and rejections of the wrapper."""

import functools
import inspect
import sys

import art.attacks.evasion
import numpy as np
import pytest
import torch
from art.attacks.attack import EvasionAttack
from sampling import slow
from sklearn.linear_model import LogisticRegression
from tolerances import close
from torch import nn

import art_flat as af
from art_flat.attacks import list_attacks, load_attack
from art_flat.datasets import load_dataset
from art_flat.errors import AttackNotUsableError, ParameterError
from art_flat.models import as_classifier, digits_cnn, fcn
from art_flat.testing import small_problem
from art_flat.training import train

INFOS = list_attacks("art")
DELTA = {"Linf": 0.3, "L2": 2.0, "L1": 10.0, "L0": 20}


@functools.cache
def few(n=6):
    """The small problem's classifier with images that it gets right."""
    net, x, y = small_problem()
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:n]
    return net, x[right], y[right]


@functools.cache
def trained(nb_classes):
    """A digits CNN of the first classes, with images that it gets right."""
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=200)
    model = digits_cnn(nb_classes)
    chosen = data.y < nb_classes
    train(model, data.x[chosen], data.y[chosen], epochs=8, seed=0)
    net = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=nb_classes))
    x, y = test.x[test.y < nb_classes], test.y[test.y < nb_classes]
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:6]
    return net, x[right], y[right]


class Grey(nn.Module):
    """A model of [0, 1] that is told inputs in [0, 255], with mean 25.5 and deviation 51 taken off before."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model((x * 51 + 25.5) / 255)


@functools.cache
def grey():
    """`few`, the same function of inputs in [0, 255] with ART's preprocessing."""
    net, x, y = few()
    classifier = as_classifier(
        Grey(net.estimator.model),
        input_shape=(1, 8, 8),
        nb_classes=10,
        clip_values=(0.0, 255.0),
        preprocessing=(25.5, 51.0),
    )
    return af.adapt(classifier), x * 255, y


def seen(monkeypatch, name):
    """Record what the library's attack is built and called with; it returns the clean points."""
    real = getattr(art.attacks.evasion, name)
    records = []

    class Spy(real):
        @functools.wraps(real.__init__)
        def __init__(self, *args, **kwargs):
            records.append({"view": args[0], **kwargs})
            super().__init__(*args, **kwargs)

        def generate(self, x, y=None, **kwargs):
            records[-1] |= {"x": x, "y": y, **kwargs}
            return x.copy()

    monkeypatch.setattr(art.attacks.evasion, name, Spy)
    return records


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


# One meaning for every classifier


@pytest.mark.parametrize(
    ("spec", "norm", "tolerance"),
    [
        ("art:ProjectedGradientDescent(max_iter=5)", "Linf", 1e-3),
        ("art:DeepFool(max_iter=3)", "L2", 1e-3),
        ("art:CarliniL2Method(binary_search_steps=2, max_iter=3, initial_const=1.0)", "L2", 1e-2),
        ("art:SquareAttack(max_iter=10)", "Linf", 1e-3),
        ("art:SaliencyMapMethod(theta=0.5)", "L0", 1e-3),
        ("art:SimBA(max_iter=30)", "L2", 1e-3),
    ],
)
@pytest.mark.slow
def test_range_and_preprocessing_do_not_matter(spec, norm, tolerance):
    attack, delta = load_attack(spec), DELTA[norm]
    one = attack(*few(), delta=delta, norm=norm)
    other = attack(*grey(), delta=delta if norm == "L0" else delta * 255, norm=norm)
    assert (np.abs(one.x - few()[1]) > 0.05).any()
    np.testing.assert_allclose(other.x / 255, one.x, atol=tolerance)
    np.testing.assert_array_equal(other.success, one.success)


@pytest.mark.parametrize("nb_classes", [slow(2), 3])
@pytest.mark.parametrize(
    ("spec", "norm"),
    [
        ("art:FastGradientMethod", "Linf"),
        ("art:ProjectedGradientDescent(max_iter=5)", "L2"),
        ("art:AutoProjectedGradientDescent(max_iter=5, nb_random_init=1)", "Linf"),
        ("art:SquareAttack(max_iter=100)", "Linf"),
        ("art:DeepFool(max_iter=10, epsilon=0.02)", "L2"),
        ("art:CarliniL2Method(binary_search_steps=3, max_iter=5, initial_const=1.0)", "L2"),
        ("art:SaliencyMapMethod(theta=1.0)", "L0"),
        ("art:HopSkipJump(max_iter=1, max_eval=10, init_eval=10)", "L2"),
    ],
)
@pytest.mark.slow
def test_few_classes(spec, norm, nb_classes):
    net, x, y = trained(nb_classes)
    result = load_attack(spec)(net, x, y, delta=3 * DELTA[norm], norm=norm)
    assert np.mean(result.success) >= 0.3


def test_logistic_heads_with_one_output_are_two_classes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    with torch.no_grad():
        model[1].weight *= 5
    classifier = art.estimators.classification.PyTorchClassifier(
        model, nn.BCEWithLogitsLoss(), (1, 8, 8), 2, clip_values=(0.0, 1.0), device_type="cpu"
    )
    net = af.adapt(classifier)
    x = np.random.default_rng(0).random((6, 1, 8, 8)).astype(np.float32)
    y = np.asarray(net.predict(x))
    result = load_attack("art:DeepFool(epsilon=0.02)")(net, x, y)
    assert np.mean(result.success) == 1
    assert (np.asarray(net.predict(result.x)) != y).all()


def test_scikit_learn_models_have_gradients_too():
    data = load_dataset("digits", split="train", n=300)
    model = LogisticRegression(max_iter=200).fit(data.x.reshape(300, -1), data.y)
    classifier = art.estimators.classification.SklearnClassifier(model, clip_values=(0.0, 1.0))
    x = data.x.reshape(300, -1)[:8]
    net = af.adapt(classifier)
    y = np.asarray(net.predict(x))
    result = load_attack("art:CarliniL2Method(binary_search_steps=3, initial_const=1.0)")(net, x, y)
    assert np.mean(result.success) >= 0.8
    assert (classifier.predict(result.x).argmax(axis=1)[result.success] != y[result.success]).all()


@pytest.mark.parametrize(
    "spec",
    ["art:HopSkipJump(max_iter=1, max_eval=10, init_eval=10)", "art:ProjectedGradientDescent(max_iter=3)"],
)
@pytest.mark.slow
def test_double_precision_models(spec):
    data = load_dataset("digits", split="test", n=6)
    model = digits_cnn()
    train(model, data.x, data.y, epochs=20, seed=0)
    net = af.adapt(as_classifier(model.double(), input_shape=(1, 8, 8), nb_classes=10))
    y = np.asarray(net.predict(data.x))
    result = load_attack(spec)(net, data.x, y, delta=4.0, norm="L2")
    assert np.mean(result.success) >= 0.5


def test_vectors_are_attacked_too():
    model = fcn(20, (16,), 3)
    net = af.adapt(as_classifier(model, input_shape=(20,), nb_classes=3))
    x = np.random.default_rng(0).random((8, 20)).astype(np.float32)
    y = np.asarray(net.predict(x))
    result = load_attack("art:ProjectedGradientDescent(max_iter=10)")(net, x, y, delta=5.0, norm="L2")
    assert np.mean(result.success) >= 0.5


def test_ranges_that_differ_between_features_are_kept():
    model = fcn(4, (8,), 3)
    low, high = np.zeros(4, np.float32), np.array([1, 2, 4, 8], np.float32)
    classifier = art.estimators.classification.PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (4,), 3, clip_values=(low, high), device_type="cpu"
    )
    net = af.adapt(classifier)
    x = (np.random.default_rng(0).random((8, 4)) * high).astype(np.float32)
    y = np.asarray(net.predict(x))
    result = load_attack("art:ProjectedGradientDescent(max_iter=10)")(net, x, y, delta=4.0, norm="Linf")
    assert (result.x >= low).all()
    assert (result.x <= high).all()
    assert np.mean(result.success) >= 0.3
    assert result.within_budget.all()


# Labels and targets


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


# Defects of the library


@pytest.mark.parametrize("name", ["AutoConjugateGradient", "RescalingAutoConjugateGradient"])
def test_conjugate_gradients_in_linf_need_the_other_loss(name):
    net, x, y = few()
    with pytest.raises(AttackNotUsableError, match="raw gradient in Linf"):
        load_attack(f"art:{name}")(net, x, y, delta=0.3, norm="Linf")
    spec = f"art:{name}(loss_type='difference_logits_ratio', max_iter=10, nb_random_init=1)"
    assert np.mean(load_attack(spec)(net, x, y, delta=0.3, norm="Linf").success) >= 0.5


@pytest.mark.parametrize(
    ("spec", "norm", "words"),
    [
        ("art:AutoAttack", "Linf", "at least 3 classes, the classifier has 2"),
        ("art:SignOPTAttack", "L2", "at least 3 classes"),
        ("art:PixelAttack", "L0", "at least 3 classes"),
        (
            "art:AutoProjectedGradientDescent(loss_type='difference_logits_ratio')",
            "Linf",
            "at least 3 classes",
        ),
        ("art:SimBA(freq_dim=3, stride=2)", "L2", "divisible by stride"),
        ("art:SquareAttack(p_init=0.99)", "Linf", "lower p_init"),
        ("art:LaserAttack", "L2", "3 channels"),
        ("art:UniversalPerturbation(attacker='jsma')", "Linf", "takes attacker="),
    ],
)
def test_conditions_are_checked_before_running(spec, norm, words):
    with pytest.raises(AttackNotUsableError, match=words):
        load_attack(spec)(*trained(2), delta=3, norm=norm)


def test_image_attacks_refuse_vectors():
    net = af.adapt(as_classifier(fcn(20, (16,), 3), input_shape=(20,), nb_classes=3))
    with pytest.raises(AttackNotUsableError, match="needs images"):
        load_attack("art:SquareAttack")(net, np.full((2, 20), 0.5), np.zeros(2, int), delta=0.1)


def test_spatial_search_covers_both_directions_for_every_image():
    net, x, y = few(4)
    attack = load_attack("art:SpatialTransformation(num_translations=3, num_rotations=1, max_rotation=0.0)")
    result = attack(net, x, y)
    assert result.forwards == 1 + 1 + 9  # ours, ART's on the clean image, and the grid
    again = attack(net, x[::-1], y[::-1])  # ART's object would repeat what it found first
    np.testing.assert_array_equal(again.x[::-1], result.x)


@pytest.mark.slow
def test_carlini_l0_fixes_all_values_it_can():
    net, x, y = few(2)
    spec = "art:CarliniL0Method(binary_search_steps=1, max_iter=3, initial_const=10.0)"
    result = load_attack(spec)(net, x, y)
    assert result.success.all()
    assert (result.distance < 40).all()  # ART alone leaves all 64 changed


def test_a_point_at_which_the_library_breaks_down_is_failed_and_not_robust(monkeypatch):
    net, x, y = few(3)

    def generate(self, x, y=None, **kwargs):
        if (x == few()[1][1]).all():
            raise ValueError("Overflow error")
        return np.clip(x + 0.25, 0, 1)

    monkeypatch.setattr(art.attacks.evasion.Wasserstein, "generate", generate)
    result = load_attack("art:Wasserstein")(net, x, y)
    assert result.status[1] == "failed"
    assert "failed" not in result.status[[0, 2]]
    assert any("point 1: Overflow error" in text for text in result.warnings)
    np.testing.assert_array_equal(result.x[1], x[1])


def test_autoattack_does_without_multiprocess():
    before = sys.modules.get("multiprocess")
    net, x, y = few(3)
    result = load_attack("art:AutoAttack")(net, x, y, delta=0.5)
    assert result.success.all()
    assert sys.modules.get("multiprocess") is before


def test_system_randomness_is_seeded_and_put_back_after_an_error(monkeypatch):
    net, x, y = few(2)
    states, real = [], np.random.RandomState

    def generate(self, x, y=None, **kwargs):
        states.append([np.random.RandomState().uniform() for _ in range(3)])
        raise RuntimeError("broken")

    monkeypatch.setattr(art.attacks.evasion.HopSkipJump, "generate", generate)
    for seed in (1, 1, 2):
        with pytest.raises(RuntimeError, match="broken"):
            load_attack("art:HopSkipJump")(net, x, y, seed=seed)
    assert np.random.RandomState is real
    assert states[0] == states[1] != states[2]
    assert len(set(states[0])) == 3


def test_numpy_is_lent_what_laser_needs_and_no_longer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    net = af.adapt(as_classifier(model, input_shape=(3, 8, 8), nb_classes=4))
    x = np.full((2, 3, 8, 8), 0.2, dtype=np.float32)
    had = "asfarray" in vars(np)
    result = load_attack("art:LaserAttack(iterations=2)")(net, x, np.asarray(net.predict(x)))
    assert result.x.shape == x.shape
    assert ("asfarray" in vars(np)) == had


def test_the_classifier_of_the_user_never_reaches_the_library(monkeypatch):
    records = seen(monkeypatch, "FastGradientMethod")
    net, x, y = few()
    load_attack("art:FastGradientMethod")(net, x, y, delta=0.1)
    view = records[0]["view"]
    assert view is not net.estimator
    ours = {id(m) for m in net.estimator.model.modules()}
    assert not ours & {id(m) for m in view.model.modules()}
