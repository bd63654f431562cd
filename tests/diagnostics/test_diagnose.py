"""Each finding fires on a planted defect and is silent without it."""

import copy
import dataclasses
import functools
import inspect
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import art_flat as af
from art_flat.analysis import ScaledHead, scale_sweep
from art_flat.attacks import Attack, AttackInfo
from art_flat.errors import AttackNotUsableError, InputError
from art_flat.evaluation import Finding, Results, diagnose
from art_flat.models import as_classifier

evaluate = functools.partial(af.evaluate, certify=None)  # no finding is read from certificates


class Scripted(Attack):
    """An attack that does what its test says."""

    name = property(lambda self: self.info.name)

    def run(self, problem):
        return self.info.defaults["run"](problem)


def scripted(run, name="Scripted", **facts):
    facts = {"norms": ("Linf",), "maximises_loss": True, **facts}
    info = AttackInfo(name=f"test:{name}", build=lambda: Scripted(info), defaults={"run": run}, **facts)
    return info.build()


def passes(problem, steps):
    """Make so many gradient passes and return the clean points."""
    for _ in range(steps):
        x = problem.x.clone().requires_grad_(True)
        torch.autograd.grad(problem.module(x).sum(), x)
    return problem.x


def strong(problem):
    """What ten steps of PGD find."""
    return af.load_attack("art_flat:PGD(steps=10)").run(problem)


def found_by(model, **facts):
    return {f.id for f in diagnose(model, **facts)}


@pytest.fixture(scope="module")
def sound(digits):
    """A run in which nothing is suspicious except where the model is confidently wrong."""
    net, x, y = digits
    return evaluate(
        {"cnn": net},
        x,
        y,
        attacks=["art_flat:PGD(steps=8)", "art_flat:GaussianNoise"],
        deltas={"Linf": [0.02, 0.05]},
        epsilons=[0.1],
    )


def changed(results, clean=None, adversarial=None, models=None, **facts):
    """The same run with some columns changed."""
    tables = {
        name: getattr(results, name).assign(**(values or {}))
        for name, values in (
            ("models", models),
            ("clean", clean),
            ("adversarial", adversarial),
            ("certified", None),
        )
    }
    return Results(**tables, facts={**results.facts, **facts})


def test_a_sound_run_has_no_findings(digits, sound):
    net, x, y = digits
    assert diagnose(sound, {"cnn": net}, x, y) == []
    assert sound.findings() == []


def test_findings_are_plain(sound):
    (finding,) = changed(sound, epsilons=[0.1, 5.0]).findings()
    assert isinstance(finding, Finding)
    assert finding.id == "suspicious-tolerance"
    assert finding.severity == "warning"
    assert "5 nats" in finding.what
    assert "log k" in finding.advice
    assert str(finding).startswith("warning: cnn")
    assert "[suspicious-tolerance]" in str(finding)


def test_errors_come_first_and_every_id_is_documented(sound):
    bad = changed(
        sound,
        epsilons=[5.0],
        deltas={"Linf": [0.02, 0.05, 0.7]},
        adversarial={"linf": 3.0, "status": "ok"},
    )
    found = diagnose(bad)
    ranks = [["error", "warning", "info"].index(f.severity) for f in found]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 2
    listed = set(re.findall(r"^- `([a-z-]+)`", inspect.getdoc(diagnose), re.MULTILINE))
    assert {f.id for f in found} <= listed
    assert len(listed) == 29


def test_vanishing_gradients(digits, sound):
    net, x, y = digits
    run = evaluate(
        {"loud": ScaledHead(net, 100)}, x, y, attacks=["art_flat:PGD(steps=3)"], deltas={"Linf": [0.05]}
    )
    (finding,) = [f for f in run.findings() if f.id == "vanishing-gradients"]
    assert len(finding.samples) > 5
    assert "vanishing-gradients" not in found_by(sound)


def test_zero_gradients(digits, sound):
    net, x, y = digits
    (finding,) = [f for f in diagnose(sound, {"cnn": ScaledHead(net, 100)}, x, y) if f.id == "zero-gradients"]
    assert finding.severity == "error"
    assert len(finding.samples) > 12
    assert "zero-gradients" not in {f.id for f in diagnose(sound, {"cnn": net}, x, y)}


def test_masked_by_scale(digits, sound):
    net, x, y = digits
    blinded = "art:ProjectedGradientDescent(max_iter=5)"
    seen = scale_sweep(net, "art_flat:PGD(steps=5)", x, y, delta=0.2, scales=[1, 100]).frame()
    blind = scale_sweep(net, blinded, x, y, delta=0.2, scales=[1, 100]).frame()
    assert "masked-by-scale" in {f.id for f in diagnose(sound, sweeps={"cnn": blind})}
    assert "masked-by-scale" not in {f.id for f in diagnose(sound, sweeps={"cnn": seen})}


def test_black_box_beats_white_box(digits):
    net, x, y = digits
    run = {}
    # open: at a radius at which chance decides nothing
    for kind, weak, delta in (("masked", lambda p: passes(p, 6), 0.1), ("open", strong, 0.4)):
        attacks = [scripted(weak, "White"), scripted(strong, "Black", access="black-box")]
        run[kind] = evaluate({"cnn": net}, x, y, attacks=attacks, deltas={"Linf": [delta]})
    (finding,) = [f for f in run["masked"].findings() if f.id == "black-box-beats-white-box"]
    rows = run["masked"].records()
    hit = rows[(rows["attack"] == "test:Black") & (rows["pred_adv"] != rows["label"])]
    assert set(finding.samples) == set(hit["sample"][hit["pred_clean"] == hit["label"]])
    assert "black-box-beats-white-box" not in found_by(run["open"])


def test_transfer_beats_white_box(digits, sound):
    net, x, y = digits
    weak = scripted(lambda p: strong(p) if p.net is net else passes(p, 6), "Choosy")
    other = af.adapt(net.estimator)
    run = evaluate({"a": net, "b": other}, x, y, attacks=[weak], deltas={"Linf": [0.1]}, transfer=True)
    (finding,) = [f for f in run.findings() if f.id == "transfer-beats-white-box"]
    assert finding.what.startswith("b, L∞")
    assert finding.samples
    fair = evaluate(  # a radius at which chance decides nothing
        {"a": net, "b": other}, x, y, attacks=[scripted(strong)], deltas={"Linf": [0.4]}, transfer=True
    )
    assert "transfer-beats-white-box" not in found_by(fair)


def test_one_step_beats_many(digits):
    net, x, y = digits

    model = copy.deepcopy(net.estimator.model)
    twin = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10))

    def one(problem):
        passes(problem, 1)  # and what nobody counts, on a copy of the model
        return strong(dataclasses.replace(problem, module=twin.as_module()))

    run = evaluate(
        {"cnn": net},
        x,
        y,
        attacks=[scripted(one, "One"), scripted(lambda p: passes(p, 8), "Many")],
        deltas={"Linf": [0.1]},
    )
    (finding,) = [f for f in run.findings() if f.id == "one-step-beats-many"]
    assert "test:One" in finding.what
    assert finding.samples
    fair = evaluate(
        {"cnn": net},
        x,
        y,
        attacks=[scripted(lambda p: passes(p, 1), "One"), scripted(strong, "Many")],
        deltas={"Linf": [0.1]},
    )
    assert "one-step-beats-many" not in found_by(fair)


def test_larger_radius_weaker(digits, sound):
    net, x, y = digits

    def overshoots(problem):
        return strong(problem) if problem.delta < 0.15 else problem.x

    run = evaluate({"cnn": net}, x, y, attacks=[scripted(overshoots)], deltas={"Linf": [0.1, 0.2]})
    (finding,) = [f for f in run.findings() if f.id == "larger-radius-weaker"]
    assert "δ = 0.1" in finding.what
    assert finding.samples
    assert "larger-radius-weaker" not in found_by(sound)


class Noisy(nn.Module):
    def __init__(self, inner, noise):
        super().__init__()
        self.inner, self.noise = inner, noise

    def forward(self, x):
        return self.inner(x + self.noise * torch.randn_like(x))


def test_unstable_predictions(digits, sound):
    net, x, y = digits
    for noise in (0.1, 0.0):
        shaky = af.adapt(
            as_classifier(Noisy(net.estimator.model, noise), input_shape=(1, 8, 8), nb_classes=10)
        )
        run = evaluate({"cnn": shaky}, x, y, attacks=[scripted(lambda p: p.x)], deltas={"Linf": [0.05]})
        assert ("unstable-predictions" in found_by(run)) is (noise > 0)
        asked = {f.id for f in diagnose(sound, {"cnn": shaky}, x, y)}
        assert ("unstable-predictions" in asked) is (noise > 0)


def test_outputs_are_probabilities(digits, linear, sound):
    net, x, y = digits
    soft = nn.Sequential(net.estimator.model, nn.Softmax(dim=1), nn.Linear(10, 10))
    with torch.no_grad():
        soft[2].weight.copy_(torch.eye(10))
        soft[2].bias.zero_()
    soft = af.adapt(as_classifier(soft, input_shape=(1, 8, 8), nb_classes=10))
    run = evaluate({"cnn": soft}, x, y, attacks=["art_flat:PGD(steps=2)"], deltas={"Linf": [0.02]})
    assert "outputs-are-probabilities" in found_by(run)
    asked = [f for f in diagnose(run, {"cnn": soft}, x, y) if f.id == "outputs-are-probabilities"]
    assert {f.severity for f in asked} == {"error", "warning"}
    assert "outputs-are-probabilities" not in {f.id for f in diagnose(sound, {"cnn": net}, x, y)}


def test_suspicious_radius(sound):
    for delta, fires in ((0.5, True), (0.4, False), (1 / 255, False), (1e-3, True)):
        assert ("suspicious-radius" in found_by(changed(sound, deltas={"Linf": [delta]}))) is fires
    big = changed(sound, models={"clip_high": 255.0})
    (finding, *_) = [f for f in diagnose(big) if f.id == "suspicious-radius"]
    assert "half of one grey level" in finding.what


def test_suspicious_tolerance(sound):
    assert "suspicious-tolerance" in found_by(changed(sound, epsilons=[2.4]))
    assert "suspicious-tolerance" not in found_by(changed(sound, epsilons=[2.2]))


def test_outside_budget(digits, sound):
    net, x, y = digits
    far = scripted(lambda p: torch.clamp(p.x + 2 * p.delta, 0, 1), "Far")
    run = evaluate({"cnn": net}, x, y, attacks=[far], deltas={"Linf": [0.1]})
    (finding,) = [f for f in run.findings() if f.id == "outside-budget"]
    assert len(finding.samples) == 24
    assert "outside-budget" not in found_by(sound)


def test_bound_exceeded(sound):
    assert "bound-exceeded" in found_by(changed(sound, adversarial={"bound_at_shift": 1e-9}))
    assert "bound-exceeded" not in found_by(sound)


def test_a_flip_that_costs_too_little_exceeds_a_bound(sound):
    fooled = changed(sound, adversarial={"pred": (sound.adversarial["pred"] + 1) % 10, "loss": 1e-3})
    assert "bound-exceeded" in found_by(changed(fooled, clean={"loss": 1e-3}))


def test_outside_range(sound):
    assert "outside-range" in found_by(changed(sound, adversarial={"linf": 1.1}))
    assert "outside-range" not in found_by(changed(sound, adversarial={"linf": 1.0}))


def test_failed_units(digits, sound):
    net, x, y = digits

    def fail(problem):
        raise RuntimeError("planted")

    run = evaluate({"cnn": net}, x, y, attacks=[scripted(fail)], deltas={"Linf": [0.1]})
    (finding,) = [f for f in run.findings() if f.id == "failed-units"]
    assert "planted" in finding.what
    assert len(finding.samples) == 24
    assert "failed-units" not in found_by(sound)


class Choosy(Scripted):
    def check(self, net, norm):
        raise AttackNotUsableError(self.info.defaults["run"])


@pytest.mark.parametrize(
    ("reason", "id_"),
    [
        ("needs at least 20 classes, the classifier has 10", "too-few-classes"),
        ("needs sound", "skipped-attacks"),
    ],
)
def test_skipped_attacks(digits, sound, reason, id_):
    net, x, y = digits
    info = AttackInfo("test:Choosy", build=lambda: Choosy(info), norms=("Linf",), defaults={"run": reason})
    run = evaluate({"cnn": net}, x, y, attacks=[info.build()], deltas={"Linf": [0.1]})
    (finding,) = run.findings()
    assert (finding.id, finding.severity) == (id_, "info")
    assert reason in finding.what
    assert not {"too-few-classes", "skipped-attacks"} & found_by(sound)


def test_flat_but_wrong(digits, sound):
    net, x, y = digits
    run = evaluate({"cnn": net}, x, y, attacks=["art_flat:PGD(steps=20)"], deltas={"Linf": [0.05, 0.3]})
    (finding,) = [f for f in run.findings() if f.id == "flat-but-wrong"]
    rows = run.records()
    rows = rows[(rows["delta"] == 0.3) & (rows["pred_clean"] == rows["label"])]
    valley = (rows["pred_adv"] != rows["label"]) & (rows["confidence_adv"] >= 0.9)
    valley &= rows["kappa_adv"] < rows["kappa_clean"]
    assert set(finding.samples) == set(rows["sample"][valley])
    assert "flat-but-wrong" not in found_by(sound)


def test_loading_keeps_findings(tmp_path, sound):
    bad = changed(sound, epsilons=[5.0])
    bad.save(tmp_path / "run")
    assert Results.load(tmp_path / "run").findings() == bad.findings() != []


def test_words_of_errors(digits, sound):
    net, *_ = digits
    with pytest.raises(InputError, match="pass x and y as well"):
        diagnose(sound, {"cnn": net})


def test_ids_of_samples_are_those_of_the_run(digits):
    net, x, y = digits
    run = evaluate(
        {"cnn": net},
        x,
        y,
        attacks=["art_flat:PGD(steps=1)"],
        deltas={"Linf": [0.02]},
        samples=np.arange(100, 124),
    )
    (finding,) = [f for f in diagnose(run, {"cnn": ScaledHead(net, 100)}, x, y) if f.id == "zero-gradients"]
    assert min(finding.samples) >= 100
    assert isinstance(pd.Series(finding.samples).max().item(), int)
