"""The attacks of adv-lib: the contract on each, conversions and rejections, and the library's defects."""

import importlib.util
import pickle
import sys

import numpy as np
import pytest
import torch
from tolerances import close
from torch import nn

if importlib.util.find_spec("adv_lib") is None:
    pytest.skip("adv-lib is not installed", allow_module_level=True)

import art_flat as af
from art_flat.attacks import list_attacks, load_attack, load_suite
from art_flat.errors import AttackNotUsableError, InputError, ParameterError
from art_flat.models import as_classifier, fcn
from art_flat.testing import AttackContract, small_problem

INFOS = list_attacks("advlib")
from art_flat_advlib._library import augmented_lagrangian, auto_pgd, fast_minimum_norm, library  # noqa: E402

DELTA = {"Linf": 0.3, "L2": 2.0, "L1": 10.0, "L0": 20}
WIDE = {("PDPGD", "L0"): 45}
"""Radii of attacks that need thousands of steps for small ones."""
QUICK = {("DDN", "L2"), ("APGD", "Linf")}
"""Whose contract is in the default run; that of all others is marked slow."""

# name: parameters; floor under the share of right images that must turn wrong, by norm, 0.8 if not given
CASES = {
    "DDN": ("steps=20", {}),
    "FMN": ("steps=30", {"L2": 0.4, "L1": 0.4}),
    "ALMA": ("num_steps=40, init_lr_distance=0.5", {}),
    "PDGD": ("num_steps=30", {}),
    "PDPGD": ("num_steps=40, proximal_operator=None", {"L1": 0.5, "L0": 0.5}),
    "TR": ("adaptive=True", {}),
    "VFGA": ("n_samples=4", {}),
    "SigmaZero": ("num_steps=50", {}),
    "SuperDeepFool": ("steps=4, df_steps=10", {}),
    "APGD": ("n_iter=8", {}),
    "APGDTargeted": ("n_iter=6, num_targets=3", {}),
}


def few(n=4):
    net, x, y = small_problem()
    right = np.flatnonzero(np.asarray(net.predict(x)) == y)[:n]
    return net, x[right], y[right]


def spec(name, norm=None):
    params = CASES[name][0]
    operator = "23" if norm == "L0" else "None"  # the operator of L0 itself changes whole pixels
    return f"advlib:{name}({params.replace('operator=None', f'operator={operator}')})"


def run(name, net, x, y, norm=None, **options):
    norm = norm or INFOS[f"advlib:{name}"].norms[0]
    return load_attack(spec(name, norm))(net, x, y, norm=norm, delta=DELTA[norm], **options)


def contract(name, norm):
    floor = CASES[name][1].get(norm, 0.8)
    body = {"attack": spec(name, norm), "norm": norm, "strength": floor}
    body["delta"] = WIDE.get((name, norm), DELTA[norm])
    body["problem"] = pytest.fixture(lambda self: few())
    made = type(f"Test{name}{norm}", (AttackContract,), body)
    return made if (name, norm) in QUICK else pytest.mark.slow(made)


PAIRS = [(name, norm) for name in CASES for norm in INFOS[f"advlib:{name}"].norms]
globals().update({f"Test{name}{norm}": contract(name, norm) for name, norm in PAIRS})


# The list


def test_every_function_of_the_library_is_listed_once():
    functions = sorted(name for name, thing in vars(library).items() if callable(thing))
    usable = {name.split(":")[1] for name, info in INFOS.items() if info.usability == "usable"}
    assert usable == CASES.keys()
    assert len(INFOS) == len(functions)
    for info in INFOS.values():
        assert info.version == "0.2.8"
        assert bool(info.reason) == (info.usability == "refused")
        assert "new in adv-lib" not in info.reason
        assert all(name.isascii() for name in info.defaults)
        assert not info.defaults.keys() & {"norm", "p", "distance", "targeted", "callback", "starting_points"}


def test_greek_letters_may_be_spelled_out_and_names_can_be_read_again():
    greek, latin = load_attack("advlib:FMN", α_init=2.0), load_attack("advlib:FMN(alpha_init=2.0)")
    assert greek.name == latin.name == "advlib:FMN(alpha_init=2.0)"
    again = pickle.loads(pickle.dumps(greek))
    assert (again.name, again.hash) == (greek.name, greek.hash)


def test_the_largest_loss_is_said_to_be_sought_where_it_is():
    assert load_attack("advlib:APGD(best_loss=True, loss_function='ce')").info.maximises_loss
    assert not load_attack("advlib:APGD(loss_function='ce')").info.maximises_loss


def test_visdom_is_not_needed_and_not_replaced():
    if importlib.util.find_spec("visdom") is None:
        assert "visdom" not in sys.modules
    assert library.ddn.__module__ == "adv_lib.attacks.decoupled_direction_norm"


def test_absence_is_no_news_but_is_said(monkeypatch, recwarn):
    monkeypatch.setitem(sys.modules, "adv_lib", None)  # as if it were not installed
    assert not list_attacks("advlib")
    with pytest.raises(
        AttackNotUsableError, match=r"needs the package adv_lib: pip install --no-deps adv-lib"
    ):
        load_attack("advlib:DDN")
    without = [a.name for a in load_suite("l0")]
    assert not recwarn.list
    monkeypatch.undo()
    assert [a.name for a in load_suite("l0") if not a.name.startswith("advlib:")] == without


@pytest.mark.parametrize(("suite", "least"), [("l2", 5), ("l1", 3), ("l0", 3), ("linf", 1)])
def test_suites_have_them_where_they_are_installed(suite, least):
    assert sum(a.name.startswith("advlib:") for a in load_suite(suite)) >= least


# Conversions


def test_radius_norm_and_labels_are_translated(monkeypatch):
    seen = {}

    def apgd(model, inputs, labels, eps, norm, targeted=False, n_iter=100):
        seen.update(eps=eps, norm=norm, x=inputs, labels=labels, targeted=targeted, n_iter=n_iter)
        return inputs

    net, x, y = few()
    double = as_classifier(net.estimator.model, input_shape=(1, 8, 8), nb_classes=10, clip_values=(0.0, 2.0))
    attack = load_attack("advlib:APGD(n_iter=5)")
    monkeypatch.setattr(library, "apgd", apgd)
    attack(af.adapt(double), x, y, delta=0.4, norm="L1", target=(y + 1) % 10)
    assert seen["eps"] == pytest.approx(0.2)
    assert (seen["norm"], seen["targeted"], seen["n_iter"]) == (1, True, 5)
    np.testing.assert_allclose(seen["x"].numpy(), x / 2, **close("value"))
    np.testing.assert_array_equal(seen["labels"].numpy(), (y + 1) % 10)
    assert seen["labels"].dtype == torch.int64


SURE = [("DDN", "L2"), ("TR", "Linf"), ("SuperDeepFool", "L2"), ("PDPGD", "L1"), ("APGD", "Linf")]


class Rescaled(nn.Module):
    def __init__(self, net, low, high):
        super().__init__()
        self.features, self.head = net.features, net.head
        self.low, self.span = low, high - low

    def forward(self, x):
        return self.head(self.features((x - self.low) / self.span))


@pytest.mark.slow
@pytest.mark.parametrize(("low", "high"), [(0.0, 255.0), (-1.0, 2.0)])
@pytest.mark.parametrize(("name", "norm"), SURE)
def test_another_clip_range_gives_the_same_points_rescaled(name, norm, low, high):
    net, x, y = few()
    scale = high - low
    classifier = as_classifier(
        Rescaled(net.estimator.model, low, high),
        input_shape=(1, 8, 8),
        nb_classes=10,
        clip_values=(low, high),
    )
    small = run(name, net, x, y, norm)
    large = load_attack(spec(name))(
        af.adapt(classifier), x * scale + low, y, norm=norm, delta=DELTA[norm] * scale
    )
    np.testing.assert_allclose((large.x - low) / scale, small.x, **close("steps", scale=0.1))
    np.testing.assert_array_equal(large.success, small.success)


def blank(shape=(20,), nb_classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = fcn(int(np.prod(shape)), (16,), nb_classes)
    net = af.adapt(as_classifier(model, input_shape=shape, nb_classes=nb_classes))
    x = np.random.default_rng(0).random((4, *shape)).astype(np.float32)
    return net, x, np.asarray(net.predict(x))


@pytest.mark.parametrize("name", ["DDN", "SuperDeepFool", "SigmaZero"])
def test_vectors(name):
    assert run(name, *blank()).success.mean() >= 0.5


@pytest.mark.parametrize(
    ("name", "norm", "floor"), [("DDN", "L2", 0.9), ("FMN", "Linf", 0.9), ("VFGA", "L0", 0.5)]
)
def test_targets_are_hit(name, norm, floor):
    net, x, y = few(6)
    target = (y + 1) % 10
    result = load_attack(spec(name))(net, x, y, delta=2 * DELTA[norm], norm=norm, target=target)
    hit = np.asarray(net.predict(result.x)) == target
    np.testing.assert_array_equal(result.success, hit & result.within_budget)
    assert hit.mean() >= floor


@pytest.mark.parametrize("name", ["DDN", "VFGA", "TR", "APGDTargeted"])
def test_misclassified_samples_are_left_as_they_are(name):
    net, x, y = few()
    np.testing.assert_array_equal(run(name, net, x, (y + 1) % 10).x, x)


# Refused


@pytest.mark.parametrize(
    ("text", "norm", "words"),
    [
        ("APGD(loss_function='mse')", "Linf", "`loss_function` must be 'ce' or 'dlr'"),
        ("APGD(n_iter=0)", "Linf", "`n_iter` must be a whole number of at least 1"),
        ("APGD(use_large_reps=True, n_iter=2)", "L1", "`n_iter` must be at least 3"),
        ("APGD(use_large_reps=True, best_loss=True)", "L1", "give one of them"),
        ("ALMA(penalty='P99')", "L2", "`penalty` must be one of"),
        ("PDGD(num_steps=1)", "L2", "`num_steps` must be at least 2"),
        ("PDPGD(proximal_operator=3)", "L2", "`proximal_operator` must be one of"),
        ("DDN(levels=0)", "L2", "`levels` must be a whole number"),
    ],
)
def test_parameters_that_cannot_work_are_refused(text, norm, words):
    with pytest.raises(InputError, match=words):
        load_attack(f"advlib:{text}")(*few(), delta=0.1, norm=norm)


def test_unknown_parameters_and_the_radius_are_answered():
    with pytest.raises(ParameterError, match="pass `delta` to the call"):
        load_attack("advlib:APGD(eps=0.1)")
    with pytest.raises(ParameterError, match="did you mean 'steps'"):
        load_attack("advlib:DDN(step=5)")


@pytest.mark.parametrize(
    ("text", "nb_classes", "options", "words"),
    [
        ("ALMA", 2, {}, "needs at least 3 classes, the classifier has 2"),
        ("APGD", 2, {"delta": 0.1}, "needs at least 3 classes"),
        ("APGDTargeted", 3, {"delta": 0.1}, "needs at least 4 classes"),
        ("APGD", 3, {"delta": 0.1, "target": np.ones(4, int)}, "needs at least 4 classes"),
        ("ALMA", 3, {"target": np.ones(4, int)}, "needs at least 4 classes"),
        ("APGD(use_large_reps=True)", 10, {"delta": 0.1}, "is for the norm L1, not Linf"),
        ("TR", 3, {"target": np.ones(4, int)}, "does not take a target class"),
        ("SigmaZero", 3, {"target": np.ones(4, int)}, "does not take a target class"),
        ("ALMA", 3, {"norm": "Linf"}, "does not support the norm Linf"),
        ("df", 3, {}, "not offered from adv-lib; use"),
    ],
)
def test_what_the_library_cannot_do_is_refused(text, nb_classes, options, words):
    with pytest.raises(AttackNotUsableError, match=words):
        load_attack(f"advlib:{text}")(*blank(nb_classes=nb_classes), **options)


# Defects of the library, and what is done about them


def one_pixel():
    """A classifier for which one changed pixel suffices."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        model[1].weight.zero_()[1, 2] = 1.0
        model[1].bias.zero_()[0] = 0.1
    x = np.zeros((1, 1, 2, 2), np.float32)
    return af.adapt(as_classifier(model, input_shape=(1, 2, 2), nb_classes=3)), x, np.zeros(1, int)


def test_fmn_in_l0_does_not_fail_where_one_value_suffices():
    net, x, y = one_pixel()
    with pytest.raises(RuntimeError, match="out of bounds"):
        library.fmn(net.as_module(), torch.from_numpy(x), torch.from_numpy(y), norm=0, steps=20)
    before = fast_minimum_norm.l0_projection_
    found = load_attack("advlib:FMN(steps=20)")(net, x, y, norm="L0")
    assert found.success.all()
    assert found.distances["L0"] == 1
    assert fast_minimum_norm.l0_projection_ is before is library.fmn.__globals__["l0_projection_"]


def test_alma_hits_its_target_whatever_the_tolerance():
    net, x, y = few()
    target = (y + 1) % 10
    inputs, labels = torch.from_numpy(x), torch.from_numpy(target)
    theirs = library.alma(net.as_module(), inputs, labels, targeted=True, num_steps=60, logit_tolerance=1.0)
    assert (np.asarray(net.predict(theirs.numpy())) != target).any()
    assert (theirs != inputs).any()
    found = load_attack("advlib:ALMA(num_steps=60, logit_tolerance=1.0)")(net, x, y, target=target)
    moved = (found.x != x).reshape(len(x), -1).any(axis=1)
    np.testing.assert_array_equal(np.asarray(net.predict(found.x))[moved], target[moved])
    assert moved.any()


def test_almas_first_step_ends_where_the_range_ends():
    """The library's search doubles the step until the distance is reached, here for ever."""
    net, x, y = one_pixel()
    found = load_attack("advlib:ALMA(num_steps=60, init_lr_distance=50.0)")(net, x, y)
    assert found.success.all()
    inside = torch.full((1, 1, 2, 2), 0.5)
    gradient = torch.tensor([[[[0.0, 0.0], [-1e-3, 0.0]]]])
    size = (
        load_attack("advlib:ALMA")
        .row.repaired(library.alma, {"lr_init": 0.1})
        .__globals__["init_lr_finder"](inside, gradient, lambda t: (t - inside).flatten(1).norm(dim=1), 0.25)
    )
    np.testing.assert_allclose(
        size.numpy(), [250.0], rtol=1e-3
    )  # where it can be reached, the same as the library
    assert library.alma.__globals__["init_lr_finder"] is augmented_lagrangian.init_lr_finder


def test_apgd_takes_the_given_number_of_steps_also_for_the_largest_loss():
    net, x, y = few(2)
    calls = []

    def counted(t):
        calls.append(len(t))
        return net.as_module()(t)

    library.apgd(counted, torch.from_numpy(x), torch.from_numpy(y), eps=0.1, norm=2, n_iter=7, best_loss=True)
    assert len(calls) == 101  # the library's own number
    found = load_attack("advlib:APGD(n_iter=7, best_loss=True)")(net, x, y, delta=0.1, norm="L2")
    assert found.forwards == 8
    assert auto_pgd._apgd is library.apgd.__globals__["_apgd"]


def test_apgd_targeted_corrects_no_misclassified_sample():
    net, x, _ = small_problem()
    wrong = (np.asarray(net.predict(x)) + 3) % 10
    attack = "advlib:APGDTargeted(n_iter=20)"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = library.apgd_targeted(
            net.as_module(),
            torch.from_numpy(x),
            torch.from_numpy(wrong),
            eps=0.4,
            norm=float("inf"),
            n_iter=20,
        )
    assert (np.asarray(net.predict(theirs.detach().numpy())) == wrong).any()
    assert load_attack(attack)(net, x, wrong, delta=0.4).success.all()


def test_tr_leaves_the_callers_tensor_alone():
    net, x, y = few()
    whole = torch.from_numpy(np.concatenate([x, x]))
    with pytest.raises(RuntimeError, match="detach views"):
        library.tr(net.as_module(), whole[:4], torch.from_numpy(y))
    whole = whole.detach()
    found = load_attack("advlib:TR(adaptive=True)")(net, whole[:4], torch.from_numpy(y))
    assert found.success.all()
    assert not whole.requires_grad


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("APGD")])
def test_without_a_gradient_nothing_fails(name):
    """A classifier that is constant where it is asked: no NaN, no failed sample."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        model[1].bias.fill_(-100.0)
        model[3].bias.copy_(torch.tensor([1.0, 0.5, 0.2, 0.1]))
    net = af.adapt(as_classifier(model, input_shape=(1, 4, 4), nb_classes=4))
    x = np.full((3, 1, 4, 4), 0.5, np.float32)
    found = run(name, net, x, np.zeros(3, int))
    assert set(found.status) == {"fallback"}
    np.testing.assert_array_equal(found.x, x)


def test_points_off_the_8_bit_grid_stay_near_unless_levels_are_given():
    net, x, y = few()
    x = np.clip(x + 0.4 / 255, 0, 1)
    near, coarse = (load_attack(f"advlib:DDN(steps=20{more})")(net, x, y) for more in ("", ", levels=256"))
    assert (near.distances["L0"] < coarse.distances["L0"]).any() or (
        near.distances["L2"] < coarse.distances["L2"]
    ).any()
    np.testing.assert_allclose(coarse.x * 255, np.round(coarse.x * 255), atol=1e-3)


@pytest.mark.slow
def test_vfga_needs_a_softmax_that_is_not_saturated():
    """The note on it: the gradient of a probability of exactly 1 is 0."""
    net, x, y = few()
    sharp = nn.Sequential(net.estimator.model, Scale(50.0)).eval()
    saturated = af.adapt(as_classifier(sharp, input_shape=(1, 8, 8), nb_classes=10))
    plain, blind = (run("VFGA", c, x, y).distances["L0"] for c in (net, saturated))
    assert np.median(plain) < 10
    assert (np.asarray(blind) != np.asarray(plain)).any()


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, z):
        return z * self.factor
