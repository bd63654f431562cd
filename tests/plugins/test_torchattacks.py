"""Every attack of torchattacks: the contract, and what the wrapper translates, repairs and refuses."""

import copy
import dataclasses
import functools
import importlib
import sys

import numpy as np
import pytest
import torch
from attack_cases import TORCHATTACKS as CASES
from attack_cases import slow_unless_quick
from sampling import mostly_slow, slow
from tolerances import close
from torch import nn

torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed")

import art_flat as af  # noqa: E402
from art_flat.attacks import list_attacks, load_attack  # noqa: E402
from art_flat.datasets import load_dataset  # noqa: E402
from art_flat.errors import AttackNotUsableError, InputError, ParameterError  # noqa: E402
from art_flat.models import as_classifier, digits_cnn, fcn, mnist_cnn  # noqa: E402
from art_flat.testing import AttackContract, small_problem  # noqa: E402
from art_flat.training import train  # noqa: E402

INFOS = list_attacks("torchattacks")
N = 6  # few, so the floors below leave room for a net that another processor trains a little differently


def spec(name):
    params = CASES[name][0]
    return f"torchattacks:{name}({params})" if params else f"torchattacks:{name}"


@functools.cache
def few():
    """The small problem's classifier with six images that it gets right."""
    net, x, y = small_problem()
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:N]
    return net, x[right], y[right]


def contract(name):
    _, norm, delta, strength, _ = CASES[name]
    body = {"attack": spec(name), "norm": norm, "delta": delta, "strength": strength}
    body["problem"] = pytest.fixture(lambda self: few())
    return type(f"Test{name}", (AttackContract,), body)


globals().update({f"Test{name}": slow_unless_quick(f"torchattacks:{name}", contract(name)) for name in CASES})


def run(name, net, x, y, **options):
    _, norm, delta, _, _ = CASES[name]
    return load_attack(spec(name))(net, x, y, **{"norm": norm, "delta": delta, **options})


# The list


def test_all_names_are_listed_and_every_usable_one_has_a_case():
    assert {info.name for info in INFOS.values()} == {f"torchattacks:{name}" for name in torchattacks.__all__}
    assert len(INFOS) == 39
    refused = {name.split(":")[1] for name, info in INFOS.items() if info.usability == "refused"}
    assert refused == {"LGV"}
    assert CASES.keys() == set(torchattacks.__all__) - refused
    idle = {name for name, case in CASES.items() if case[3] == 0}
    assert idle == {name.split(":")[1] for name, info in INFOS.items() if info.access == "none"}


def test_infos_say_what_readers_need():
    for info in INFOS.values():
        assert info.version == "3.5.1"
        assert bool(info.reason) == (info.usability != "usable"), info.name
        assert not info.defaults.keys() & {"model", "eps", "max_epsilon", "norm", "seed", "verbose"}, (
            info.name
        )
        assert info.targeted == (
            info.name.split(":")[1] in CASES and CASES[info.name.split(":")[1]][4] is not None
        )
    assert INFOS["torchattacks:PGD"].maximises_loss
    assert not INFOS["torchattacks:APGD"].maximises_loss
    assert "alpha is 2.5 delta / steps" in " ".join(INFOS["torchattacks:PGD"].notes)
    assert "10" in " ".join(INFOS["torchattacks:AutoAttack"].notes)


def test_missing_library_is_a_missing_module(monkeypatch):
    for name in [m for m in sys.modules if m.startswith("art_flat_torchattacks")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("art_flat_torchattacks")
    assert caught.value.name == "torchattacks"


# Parameters


def seen(text, net, x, y, **options):
    """The library's object as it is when it would run, with the images and labels it would get."""
    attack, found = load_attack(text), {}

    def call(setup, thing, labels):
        found.update(attack=thing, images=setup.start, labels=labels)
        return setup.start

    attack.row = dataclasses.replace(attack.row, call=call)
    attack(net, x, y, **options)
    return found


@pytest.mark.parametrize(
    ("text", "norm", "expected"),
    [
        ("PGD", "Linf", {"eps": 0.2, "steps": 10, "alpha": 0.05, "targeted": False}),
        ("PGD(steps=4, alpha=0.01)", "Linf", {"steps": 4, "alpha": 0.01}),
        ("PGDL2(steps=5)", "L2", {"eps": 0.2, "alpha": 0.1}),
        ("FFGSM", "Linf", {"eps": 0.2, "alpha": 0.25}),
        ("PIFGSM", "Linf", {"max_epsilon": 0.2, "num_iter_set": 10}),
        ("SPSA(nb_iter=5)", "Linf", {"eps": 0.2, "lr": 0.1, "delta": 0.01}),
        ("APGD", "L2", {"eps": 0.2, "norm": "L2", "seed": 5, "verbose": False}),
        ("Square", "Linf", {"eps": 0.2, "norm": "Linf", "seed": 5}),
        ("FAB", "Linf", {"eps": 1.0, "norm": "Linf", "seed": 5, "n_target_classes": 9}),
        ("FAB", "L2", {"eps": 8.0, "norm": "L2"}),
        ("APGDT(n_classes=7)", "Linf", {"n_target_classes": 6}),
        ("GN", "Linf", {"std": 0.2}),
        ("GN", "L2", {"std": 0.025}),
        ("GN(std=0.3)", "L2", {"std": 0.3}),
    ],
)
def test_delta_norm_seed_and_step_become_the_librarys_parameters(text, norm, expected):
    thing = seen(f"torchattacks:{text}", *few(), delta=0.2, norm=norm, seed=5)["attack"]
    assert {key: getattr(thing, key) for key in expected} == pytest.approx(expected)


def test_radius_and_images_are_rescaled_to_the_unit_range():
    net, x, y = in_range(0.0, 255.0)
    found = seen("torchattacks:PGD", net, x, y, delta=51.0, seed=0)
    assert found["attack"].eps == pytest.approx(0.2)
    assert found["attack"].alpha == pytest.approx(0.05)
    np.testing.assert_allclose(found["images"].numpy(), x / 255, **close("value"))
    assert found["labels"].dtype == torch.int64


def test_given_steps_are_in_clip_units_like_delta():
    given = seen("torchattacks:PGD(alpha=25.5)", *in_range(0.0, 255.0), delta=51.0, seed=0)["attack"]
    assert given.alpha == pytest.approx(0.1)


def test_autoattack_runs_the_published_number_of_steps():
    inside = seen("torchattacks:AutoAttack", *few(), delta=0.2, seed=5)["attack"]._autoattack.attacks
    assert [type(a).__name__ for a in inside] == ["APGD", "APGDT", "FAB", "Square"]
    assert [a.steps for a in inside[:3]] == [100, 100, 100]
    assert inside[3].n_queries == 5000
    assert {a.seed for a in inside} == {5}
    assert {a.eps for a in inside} == {0.2}


@pytest.mark.parametrize("key", ["eps", "norm", "seed", "verbose"])
def test_what_the_call_sets_is_no_parameter(key):
    with pytest.raises(ParameterError, match=f"torchattacks:APGD: '{key}' is not set here"):
        load_attack("torchattacks:APGD", **{key: 1})


def test_eps_is_answered_by_delta_and_a_typo_by_the_closest_name():
    with pytest.raises(ParameterError, match="pass `delta` to the call"):
        load_attack("torchattacks:PIFGSM(max_epsilon=0.1)")
    with pytest.raises(ParameterError, match="did you mean 'steps'"):
        load_attack("torchattacks:PGD(step=3)")


def test_zero_steps_are_refused():
    with pytest.raises(InputError, match="`steps` must be a whole number of at least 1, got 0"):
        load_attack("torchattacks:BIM(steps=0)")(*few(), delta=0.1)


def test_seed_decides_where_the_library_would_reseed():
    net, x, y = few()
    first, second = (
        load_attack("torchattacks:APGD(steps=1)")(net, x, y, delta=0.3, seed=s).x for s in (0, 1)
    )
    assert not np.array_equal(first, second)


# Points


def test_fgsm_is_one_step_along_the_sign_of_the_gradient_for_the_true_label():
    net, x, y = few()
    wrong = (y + 1) % 10
    inputs = torch.from_numpy(x).double().requires_grad_()
    model = copy.deepcopy(net.estimator.model).eval().double()
    loss = nn.functional.cross_entropy(model(inputs), torch.from_numpy(wrong), reduction="sum")
    (grad,) = torch.autograd.grad(loss, inputs)
    expected = (inputs + 0.1 * grad.sign()).clamp(0, 1).detach().numpy()
    found = load_attack("torchattacks:FGSM")(net, x, wrong, delta=0.1).x
    np.testing.assert_allclose(found, expected, **close("value"))


@pytest.mark.slow
def test_minimum_norm_attacks_ignore_delta_and_leave_wrong_samples():
    net, x, y = few()
    wrong = (y + 1) % 10
    for name in ("DeepFool", "FAB", "SparseFool"):
        attack = load_attack(spec(name))
        free, told = (attack(net, x[:2], y[:2], delta=d, seed=0) for d in (None, 1e-3))
        np.testing.assert_array_equal(free.x, told.x)
        assert not told.success.any()
        np.testing.assert_array_equal(attack(net, x[:2], wrong[:2]).x, x[:2])


@pytest.mark.slow
def test_deepfool_crosses_the_boundary_where_the_library_stalls():
    net, x, y = small_problem()
    right = np.asarray(net.predict(x)) == y
    x, y = x[right], y[right]
    library = torchattacks.DeepFool(net.as_module(), steps=6)
    library.set_device(torch.device("cpu"))
    stalled = np.asarray(net.predict(library(torch.from_numpy(x), torch.from_numpy(y)).numpy())) == y
    found = run("DeepFool", net, x, y, delta=None)
    assert stalled.any()
    assert found.success.sum() > (~stalled).sum()


def test_cw_moves_saturated_values_and_a_constant_on_the_logits_changes_nothing():
    net, x, y = few()
    found = run("CW", net, x, y)
    moved = (found.x != x)[found.success]
    assert moved[(x == 0)[found.success]].any()
    shifted = digits_cnn()
    shifted.load_state_dict(net.estimator.model.state_dict())
    with torch.no_grad():
        shifted.head.bias -= 30
    lower = af.adapt(as_classifier(shifted, input_shape=(1, 8, 8), nb_classes=10))
    again = run("CW", lower, x, y)
    assert found.success.any()
    np.testing.assert_array_equal(again.success, found.success)
    np.testing.assert_allclose(again.x, found.x, atol=0.02)


def test_untouched_values_come_back_to_the_bit_from_another_range():
    net, x, y = in_range(-0.7, 2.4)
    x = np.random.default_rng(0).uniform(-0.7, 2.4, x.shape).astype(np.float32)
    found = load_attack("torchattacks:Pixle")(net, x, y, delta=64)
    np.testing.assert_array_equal(found.distances["L0"], (found.x != x).reshape(len(x), -1).sum(axis=1))
    assert (found.distances["L0"] < 64).any()
    assert (found.distances["L0"] == 0).sum() < len(x)
    np.testing.assert_array_equal(load_attack("torchattacks:VANILA")(net, x, y).x, x)


AIMED = [name for name, case in CASES.items() if case[4] is not None]
OFTEN = {"FGSM", "PGDL2", "APGD", "FAB", "JSMA"}
"""In the default run, where a test tries every attack; a kind of attack each."""


@pytest.mark.parametrize("name", mostly_slow(AIMED, quick=OFTEN.intersection(AIMED)))
def test_targets_are_hit(name):
    net, x, y = few()
    target = (y + 3) % 10
    strength = CASES[name][4]
    delta = {"Linf": 0.4, "L2": 3.0, "L1": 15.0, "L0": 40}[CASES[name][1]]
    found = run(name, net, x, y, delta=delta, target=target)
    hit = np.asarray(net.predict(found.x)) == target
    np.testing.assert_array_equal(found.success, hit & found.within_budget)
    assert hit.mean() >= strength


def test_multiattack_hands_on_what_is_left():
    net, x, y = few()
    both = load_attack("torchattacks:MultiAttack", attacks=["FGSM", "torchattacks:PGD(steps=4)"])
    found = both(net, x, y, delta=0.3)
    alone = load_attack("torchattacks:FGSM")(net, x, y, delta=0.3)
    np.testing.assert_array_equal(found.x[alone.success], alone.x[alone.success])
    assert found.success.sum() >= alone.success.sum()


# Other classifiers


def fitted(net, x, y, shape, nb_classes, clip_values=(0.0, 1.0)):
    train(net, x, y, epochs=6, seed=0)
    return af.adapt(as_classifier(net, input_shape=shape, nb_classes=nb_classes, clip_values=clip_values))


class Rescaled(nn.Module):
    def __init__(self, net, low, high):
        super().__init__()
        self.features, self.head = net.features, net.head
        self.low, self.span = low, high - low

    def forward(self, x):
        return self.head(self.features((x - self.low) / self.span))


@functools.cache
def in_range(low, high):
    net, x, y = few()
    model = Rescaled(net.estimator.model, low, high)
    classifier = as_classifier(model, input_shape=(1, 8, 8), nb_classes=10, clip_values=(low, high))
    return af.adapt(classifier), x * (high - low) + low, y


@functools.cache
def modulo(nb_classes):
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=N)
    net = fitted(digits_cnn(nb_classes), data.x, data.y % nb_classes, (1, 8, 8), nb_classes)
    return net, test.x, test.y % nb_classes


@functools.cache
def colour():
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=N)
    three = [np.concatenate([d.x, d.x[:, :, ::-1], 1 - d.x], axis=1) for d in (data, test)]
    return fitted(mnist_cnn((3, 8, 8)), three[0], data.y, (3, 8, 8), 10), three[1], test.y


@functools.cache
def vectors():
    data, test = load_dataset("digits", split="train"), load_dataset("digits", split="test", n=N)
    net = fitted(fcn(64, (32,)), data.x.reshape(-1, 64), data.y, (64,), 10)
    return net, test.x.reshape(-1, 64), test.y


@pytest.mark.parametrize("name", ["FGSM", "PGD", "PGDL2", "APGD", "Square", "FAB", "PIFGSM", "EADL1"])
@pytest.mark.parametrize(("low", "high"), [slow((0.0, 255.0)), (-1.0, 2.0)])
@pytest.mark.slow
def test_another_clip_range_gives_the_same_points_rescaled(name, low, high):
    net, x, y = few()
    other, other_x, _ = in_range(low, high)
    delta = CASES[name][2]
    small, large = run(name, net, x, y), run(name, other, other_x, y, delta=delta * (high - low))
    np.testing.assert_allclose((large.x - low) / (high - low), small.x, **close("steps", scale=0.1))
    np.testing.assert_array_equal(large.success, small.success)


SURE = [name for name in CASES if name not in {"VANILA", "GN", "TPGD", "OnePixel"}]
"""Attacks that must turn some labels on any of these small nets."""


def fooled_by(name, net, x, y):
    right = np.asarray(net.predict(x)) == y
    found = run(name, net, x, y)
    assert not set(found.status) & {"failed"}
    return found.success[right].mean()


@pytest.mark.parametrize(
    "name", mostly_slow([n for n in SURE if n not in {"APGDT", "AutoAttack"}], quick=OFTEN)
)
@pytest.mark.parametrize("nb_classes", [2, slow(3)])
def test_few_classes(name, nb_classes):
    assert fooled_by(name, *modulo(nb_classes)) > 0


@pytest.mark.parametrize("name", mostly_slow(SURE, quick=OFTEN))
@pytest.mark.slow
def test_three_channels(name):
    assert fooled_by(name, *colour()) > 0


@pytest.mark.parametrize("name", ["FGSM", "PGD", "PGDL2", "APGD", "FAB", "JSMA", "VMIFGSM"])
def test_vectors(name):
    assert fooled_by(name, *vectors()) > 0


def test_jsma_aims_at_the_next_class_of_those_there_are():
    net, x, y = modulo(3)
    np.testing.assert_array_equal(
        seen("torchattacks:JSMA", net, x, y, delta=10)["labels"].numpy(), (y + 1) % 3
    )


# Refused, before anything runs


@pytest.fixture
def idle(monkeypatch):
    """A way to make a classifier fail at its first forward pass."""

    def still(problem):
        net, x, y = problem
        for method in ("outputs", "as_module"):
            monkeypatch.setattr(net, method, lambda *a, **k: pytest.fail("the classifier was run"))
        return net, x, y

    return still


def test_lgv_is_refused(idle):
    with pytest.raises(AttackNotUsableError, match=r"torchattacks:LGV cannot be used: it trains copies"):
        load_attack("torchattacks:LGV")(*idle(few()), delta=0.1)


@pytest.mark.parametrize(
    ("text", "nb_classes", "words"),
    [
        ("APGDT", 2, "needs at least 4 classes, the classifier has 2"),
        ("APGDT", 3, "needs at least 4 classes, the classifier has 3"),
        ("AutoAttack", 3, "version='standard' needs at least 4 classes"),
        ('AutoAttack(version="rand")', 2, "version='rand' needs at least 3 classes"),
        ('APGD(loss="dlr")', 2, "needs at least 3 classes, the classifier has 2"),
        ('UPGD(loss="dlr")', 2, "needs at least 3 classes, the classifier has 2"),
        ('MultiAttack(attacks=("PGD", "APGDT"))', 2, "APGDT cannot be used"),
    ],
)
def test_too_few_classes_are_refused(text, nb_classes, words, idle):
    with pytest.raises(AttackNotUsableError, match=words):
        load_attack(f"torchattacks:{text}")(*idle(modulo(nb_classes)), delta=0.1)


def blank(shape, clip_values=(0.0, 1.0)):
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 10))
    net = af.adapt(as_classifier(model, input_shape=shape, nb_classes=10, clip_values=clip_values))
    return net, np.full((1, *shape), 0.5, dtype=np.float32), np.zeros(1, dtype=int)


@pytest.mark.parametrize(
    ("text", "shape", "norm", "words"),
    [
        ("TIFGSM", (2, 8, 8), "Linf", "its kernels are for 3 channels .* takes 2"),
        ("PIFGSM", (2, 8, 8), "Linf", "its kernels are for 3 channels"),
        ("PIFGSMPP", (4, 8, 8), "Linf", "its kernels are for 3 channels"),
        ("DIFGSM", (1, 6, 8), "Linf", "the images are 6×8"),
        ("Pixle", (1, 6, 8), "L0", "the images are 6×8"),
        ("Square", (64,), "Linf", "it needs images"),
        ("Square", (1, 4, 4), "L2", "its window of 5 pixels does not fit into images of 4×4"),
        ("JSMA", (3, 80, 80), "L0", "19200 features are more than"),
        ("FAB", (1, 8, 8), "L1", "does not support the norm L1; it supports Linf, L2"),
    ],
)
def test_shapes_and_norms_the_library_cannot_do_are_refused(text, shape, norm, words, idle):
    with pytest.raises(AttackNotUsableError, match=words):
        load_attack(f"torchattacks:{text}")(*idle(blank(shape)), delta=0.1, norm=norm)


def test_a_clip_range_per_channel_is_refused(idle):
    low, high = np.zeros((3, 1, 1), np.float32), np.array([1, 1, 2], np.float32).reshape(3, 1, 1)
    with pytest.raises(AttackNotUsableError, match="clip_values differ between features"):
        load_attack("torchattacks:PGD")(*idle(blank((3, 8, 8), (low, high))), delta=0.1)


@pytest.mark.parametrize("name", ["APGD", "APGDT", "DeepFool", "FAB", "TPGD", "AutoAttack", "PIFGSM"])
def test_targets_are_refused_where_the_library_has_none(name, idle):
    net, x, y = idle(few())
    with pytest.raises(AttackNotUsableError, match="does not take a target class"):
        load_attack(f"torchattacks:{name}")(net, x, y, delta=0.1, target=(y + 1) % 10)


def test_parameters_that_cannot_work_are_refused():
    net, x, y = few()
    with pytest.raises(AttackNotUsableError, match='with `target` and loss="dlr"'):
        load_attack('torchattacks:UPGD(loss="dlr")')(net, x, y, delta=0.1, target=(y + 1) % 10)
    with pytest.raises(InputError, match="`resize_rate` must shrink images of side 8"):
        load_attack("torchattacks:DIFGSM(resize_rate=1.1)")(net, x, y, delta=0.1)
    with pytest.raises(InputError, match="`max_iterations` must be at least 10 with abort_early"):
        load_attack("torchattacks:EADL1(max_iterations=5)")(net, x, y)
    with pytest.raises(InputError, match=r"CW.* cannot run inside it"):
        load_attack('torchattacks:MultiAttack(attacks=("CW", "PGD"))')(net, x, y, delta=0.1)
    with pytest.raises(InputError, match="must list at least two attacks"):
        load_attack('torchattacks:MultiAttack(attacks=("PGD",))')(net, x, y, delta=0.1)
