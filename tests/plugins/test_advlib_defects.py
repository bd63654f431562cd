"""Defects of adv-lib, and what is done about them."""

import numpy as np
import pytest
import torch
from advlib_cases import CASES, few, run
from torch import nn

import art_flat as af
from art_flat.attacks import load_attack
from art_flat.models import as_classifier
from art_flat.testing import small_problem
from art_flat_advlib._library import augmented_lagrangian, auto_pgd, fast_minimum_norm, library


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
