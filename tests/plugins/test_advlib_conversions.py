"""What adv-lib's attacks are given and return in clip units, and what is refused."""

import numpy as np
import pytest
import torch
from advlib_cases import DELTA, few, run, spec
from attack_cells import Rescaled
from tolerances import close

import art_flat as af
from art_flat.attacks import load_attack
from art_flat.errors import AttackNotUsableError, InputError, ParameterError
from art_flat.models import as_classifier, fcn
from art_flat_advlib._library import library


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
