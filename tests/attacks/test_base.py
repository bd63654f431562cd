"""The contract around `run`: whatever an attack does, what comes out is measured and the rest is restored."""

import random

import numpy as np
import pytest
import torch

import art_flat as af
from art_flat.attacks import Attack, AttackInfo
from art_flat.attacks.base import CheckedArguments
from art_flat.errors import AttackNotUsableError, BudgetError, InputError, ParameterError
from art_flat.models import as_classifier


def make(run, *, norms=("Linf", "L2", "L1", "L0"), defaults=None, **facts):
    class Test(Attack):
        def run(self, problem):
            return run(problem)

    info = AttackInfo(
        name="test:Test", build=lambda **p: Test(info, p), norms=norms, defaults=defaults or {}, **facts
    )
    return info.build()


def noise(problem):
    return problem.x + problem.delta * (2 * torch.rand_like(problem.x) - 1)


def test_points_outside_the_ball_are_never_inside(digits):
    net, x, y = digits
    adv = make(lambda p: 1 - p.x)(net, x, y, delta=0.1, norm="Linf")
    assert not adv.within_budget.any()
    assert not adv.success.any()
    assert (adv.distance > 0.1).all()
    assert (net.predict(adv.x) != y).any()


def test_rounding_errors_are_projected_away(digits):
    net, x, y = digits
    for norm, size in (("Linf", 1.0), ("L2", 8.0), ("L1", 64.0)):
        adv = make(lambda p, s=size: p.x + (p.delta / s) * (1 + 1e-4) * torch.where(p.x < 0.5, 1, -1))(
            net, x * 0.5 + 0.25, y, delta=0.1, norm=norm
        )
        assert adv.within_budget.all()
        assert (adv.distance <= 0.1).all()
        assert (adv.distance > 0.0999).all()


def test_checked_arguments_give_the_points_of_a_call(digits):
    net, x, y = digits
    checked = CheckedArguments(
        x=torch.from_numpy(x), y=torch.from_numpy(y), norm="L2", delta=1.0, target=None, seed=3,
        clean=None, estimate_gradients=False, radii={"L2": [0.5]},
    )  # fmt: skip
    attack = make(noise)
    solved, called = (
        attack.solve(net, checked),
        attack(net, x, y, norm="L2", delta=1.0, seed=3, radii={"L2": [0.5]}),
    )
    np.testing.assert_array_equal(solved.x.numpy(), called.x)
    np.testing.assert_array_equal(solved.status, called.status)
    with pytest.raises(AttackNotUsableError, match="needs a moon rocket"):
        make(noise, usability="refused", reason="needs a moon rocket").solve(net, checked)


def test_points_are_clipped(digits):
    net, x, y = digits
    adv = make(lambda p: p.x + 7)(net, x, y, delta=9.0)
    assert (adv.x == 1).all()


def test_distances_in_every_norm(digits):
    net, x, y = digits
    adv = make(noise)(net, x, y, delta=0.1, seed=1)
    shift = (adv.x.astype(np.float64) - x.astype(np.float64)).reshape(len(x), -1)
    for norm, order in {"Linf": np.inf, "L2": 2, "L1": 1, "L0": 0}.items():
        np.testing.assert_allclose(adv.distances[norm], np.linalg.norm(shift, ord=order, axis=1), rtol=1e-12)


def test_fallback_is_recorded(digits):
    net, x, y = digits
    same = make(lambda p: p.x)(net, x, y, delta=0.1)
    assert (same.status == "fallback").all()

    def better(p):  # one step down the loss
        leaf = p.x.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(p.module(leaf), p.y)
        return p.x - 0.01 * torch.autograd.grad(loss, leaf)[0].sign()

    down = make(better)(net, x, y, delta=0.1)
    fell = net.loss(down.x, y) < net.loss(x, y)
    assert fell.mean() > 0.8
    assert (down.status[fell & ~down.success] == "fallback").all()


def test_nan_points_are_failures(digits):
    net, x, y = digits

    def half(p):
        points = p.x.clone()
        points[::2, 0, 0, 0] = torch.nan
        return points + 0

    adv = make(half)(net, x, y, delta=0.1)
    assert (adv.status[::2] == "failed").all()
    assert not adv.success[::2].any()
    np.testing.assert_array_equal(adv.x, x)


@pytest.mark.parametrize("bad", [lambda p: p.x[:1], lambda p: None, lambda p: p.x.flatten(1)])
def test_wrong_shape_is_an_error(digits, bad):
    net, x, y = digits
    with pytest.raises(BudgetError, match="where points of shape"):
        make(bad)(net, x, y, delta=0.1)


def test_everything_is_put_back_after_an_exception(digits, capfd):
    net, x, y = digits
    model = net.estimator.model
    modes = [m.training for m in model.modules()]

    def vandal(p):
        print("noise on the terminal")
        model.train()
        next(model.parameters()).requires_grad_(False)
        next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
        model.register_forward_hook(lambda *_: None)
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        raise RuntimeError("on purpose")

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    with pytest.raises(RuntimeError, match="on purpose"):
        make(vandal)(net, x, y, delta=0.1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]
    assert [m.training for m in model.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not model._forward_hooks
    assert capfd.readouterr() == ("", "")


def test_what_a_library_says_is_kept(digits):
    import warnings

    net, x, y = digits

    def chatty(p):
        print("hello")
        warnings.warn("careful", RuntimeWarning, stacklevel=1)
        return p.x

    assert make(chatty)(net, x, y, delta=0.1).warnings == ("RuntimeWarning: careful", "hello")


def test_clean_outputs_are_not_computed_again(digits):
    net, x, y = digits
    clean = net.outputs(x)
    with net.counting() as passes:
        make(lambda p: p.x)(net, x, y, delta=0.1, clean=clean)
    assert passes.forwards == len(x)
    with net.counting() as passes:
        make(lambda p: p.x)(net, x, y, delta=0.1)
    assert passes.forwards == 2 * len(x)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ({"delta": 0}, InputError, "`delta` must be greater than 0"),
        ({"delta": float("nan")}, InputError, "`delta` must be finite"),
        ({}, InputError, "needs `delta`"),
        ({"eps": 0.1}, ParameterError, "the radius is `delta`, the tolerated loss change is `epsilon`"),
        ({"delta": 0.1, "norm": "Lfin"}, InputError, "unknown norm 'Lfin'.*'Linf'"),
        (
            {"delta": 0.1, "norm": "L1"},
            AttackNotUsableError,
            "does not support the norm L1; it supports Linf, L2",
        ),
        ({"delta": 0.1, "target": np.zeros(24, int)}, AttackNotUsableError, "does not take a target class"),
    ],
)
def test_bad_calls(digits, call, error, words):
    net, x, y = digits
    with pytest.raises(error, match=words):
        make(noise, norms=("Linf", "L2"))(net, x, y, **call)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x[:0], y[:0]), "no samples"),
        (lambda x, y: (x[0], y[:1]), "one sample of shape"),
        (lambda x, y: (x * 2, y), "clip_values are 0 to 1"),
        (lambda x, y: (np.where(x == x.max(), np.nan, x), y), "NaN or infinite"),
        (lambda x, y: (x, y + 5), "labels from"),
        (lambda x, y: (x, y[:3]), "3 labels for 24 samples"),
        (lambda x, y: (x, np.full((24, 10), 0.1)), "soft labels"),
    ],
)
def test_bad_data(digits, change, words):
    net, x, y = digits
    bad_x, bad_y = change(x, y)
    with pytest.raises(InputError, match=words):
        make(noise)(net, bad_x, bad_y, delta=0.1)


def test_a_raw_classifier_is_refused(digits):
    net, x, y = digits
    with pytest.raises(InputError, match=r"pass an adapted classifier: art_flat.adapt"):
        make(noise)(net.estimator, x, y, delta=0.1)


def test_refused_attacks_say_why(digits):
    net, x, y = digits
    with pytest.raises(AttackNotUsableError, match="needs a moon rocket"):
        make(noise, usability="refused", reason="needs a moon rocket")(net, x, y, delta=0.1)


def test_unknown_parameters_have_a_closest_name():
    with pytest.raises(ParameterError, match="no parameter 'stepz'; did you mean 'steps'"):
        af.load_attack("art_flat:PGD", stepz=3)


def test_hash_depends_on_parameters_and_version():
    plain, other = af.load_attack("art_flat:PGD"), af.load_attack("art_flat:PGD", steps=3)
    assert plain.hash == af.load_attack("art_flat:PGD").hash != other.hash
    assert len(plain.hash) == 12


def test_only_accelerators_are_waited_for(monkeypatch):
    from art_flat._utils.arrays import synchronize

    order = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: order.append(device.type))
    synchronize(torch.device("cpu"))
    assert not order
    synchronize(torch.device("cuda"))
    assert order == ["cuda"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_seconds_include_what_the_device_still_computes():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    net = af.adapt(as_classifier(model, input_shape=(4,), nb_classes=2, device="cuda"))
    queued = torch.ones(4096, 4096, device="cuda", dtype=torch.float64)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def asynchronous(problem):
        start.record()
        for _ in range(5):
            queued @ queued
        end.record()
        return problem.x

    adv = make(asynchronous)(net, np.zeros((1, 4), np.float32), [0], delta=0.1)
    assert adv.seconds >= start.elapsed_time(end) / 1000
