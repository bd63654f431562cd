"""Probes of models, data and labels before a run, and the findings from them."""

import functools
from collections import Counter

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from art.preprocessing.standardisation_mean_std import StandardisationMeanStdPyTorch
from sampling import mostly_slow
from torch import nn

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.diagnostics.probes import probe_data, probe_samples
from art_flat.evaluation import Results, diagnose
from art_flat.models import as_classifier
from art_flat.reporting._page import render

evaluate = functools.partial(af.evaluate, certify=None, deltas={"Linf": [0.1]}, epsilons=[0.1])
PGD = ("art_flat:PGD(steps=2)",)


class Before(nn.Module):
    """A fixed linear classifier of 4 inputs behind a function of them."""

    def __init__(self, function=lambda x: x, classes=4):
        super().__init__()
        self.function, self.head = function, nn.Linear(4, classes, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(6 * torch.eye(classes, 4))

    def forward(self, x):
        return self.head(self.function(x))


def adapted(function=lambda x: x, clip=(0, 1), loss=None, **options):
    model = Before(function)
    loss = nn.CrossEntropyLoss() if loss is None else loss
    return af.adapt(PyTorchClassifier(model, loss, (4,), 4, clip_values=clip, **options))


@pytest.fixture(scope="module")
def data():
    x = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)).numpy()
    return x, x.argmax(axis=1)


def ids(results):
    return {f.id: f for f in results.findings()}


class Floored(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.floor(x * 15) / 15

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient)


BLOCKS = {
    "round": lambda x: torch.round(x * 15) / 15,
    "threshold": lambda x: (x > 0.5).to(x.dtype) + 0 * x.detach(),
    "detach": lambda x: x.detach(),
    "own function": Floored.apply,
}


@pytest.mark.parametrize("name", mostly_slow(BLOCKS, quick=["round", "detach"]))
def test_blocked_gradients_are_found_without_diagnose(name, data, tmp_path):
    results = evaluate(
        adapted(BLOCKS[name]), *data, attacks=["art_flat:GaussianNoise", *PGD], out=tmp_path / "run"
    )
    finding = ids(results)["zero-gradients"]
    assert finding.severity == "error"
    assert "100.0 % of 32 input gradients" in finding.what
    for text in (results.to_markdown(), render(results)):
        assert text.index("zero-gradients") < text.index("accuracy")  # above the numbers
    assert Results.load(tmp_path / "run").findings() == results.findings()


@pytest.mark.parametrize("function", [lambda x: x, lambda x: torch.tanh(x), lambda x: x**2])
def test_open_gradients_are_not(function, data):
    assert (
        not {"zero-gradients", "batch-dependent-predictions"}
        & ids(evaluate(adapted(function), *data, attacks=PGD)).keys()
    )


def test_gradients_matter_only_to_attacks_that_follow_them(data):
    results = evaluate(adapted(BLOCKS["round"]), *data, attacks=["art_flat:GaussianNoise"])
    assert "zero-gradients" not in ids(results)


def test_gradients_are_asked_through_the_preprocessing(data):
    net = adapted(preprocessing_defences=[StandardisationMeanStdPyTorch(mean=0.5, std=0.25)])
    assert "zero-gradients" not in ids(evaluate(net, *data, attacks=PGD))


BATCHES = {
    "batch norm": nn.BatchNorm1d(4, track_running_stats=False),
    "centred": lambda x: x - x.mean(dim=0),
    "scaled": lambda x: x / x.amax(dim=0).clamp(min=1e-3),
    "ranks": lambda x: x.argsort(dim=0).argsort(dim=0).to(x.dtype) + 0 * x,
}


@pytest.mark.parametrize("function", BATCHES.values(), ids=BATCHES)
def test_outputs_that_depend_on_the_batch(function, data):
    net = adapted(function)
    results = evaluate(net, *data, attacks=["art_flat:GaussianNoise"])
    for finding in (ids(results), {f.id: f for f in diagnose(results, {"model": net}, *data)}):
        assert finding["batch-dependent-predictions"].severity == "error"
        assert "of 8 samples" in finding["batch-dependent-predictions"].what


def test_outputs_that_do_not(data):
    frozen = nn.BatchNorm1d(4).eval()
    assert "batch-dependent-predictions" not in ids(evaluate(adapted(frozen), *data, attacks=PGD))

    def noisy(x):
        return x + 0.1 * torch.randn_like(x)

    found = ids(evaluate(adapted(noisy), *data, attacks=PGD))
    assert "batch-dependent-predictions" not in found  # random, which is another finding


SHIFTS = {
    "+1": (lambda y: (y + 1) % 4, "100.0 % of the predictions are the label -1"),
    "-1": (lambda y: (y - 1) % 4, "100.0 % of the predictions are the label +1"),
    "renumbered": (lambda y: np.array([1, 0, 3, 2])[y], "follow from the label by a renumbering"),
}


@pytest.mark.parametrize(("change", "words"), SHIFTS.values(), ids=SHIFTS)
def test_labels_of_another_numbering(change, words, data):
    x, y = data
    finding = ids(evaluate(adapted(), x, change(y), attacks=PGD))["wrong-labels"]
    assert finding.severity == "error"
    assert words in finding.what


def test_accuracy_below_chance(data):
    x, y = data
    others = (y + 1 + np.arange(len(y)) % 3) % 4  # never right, and by no rule
    finding = ids(evaluate(adapted(), x, others, attacks=PGD))["wrong-labels"]
    assert f"accuracy is 0.0 % of {len(y)} where guessing has 25.0 %" in finding.what
    guesses = np.random.default_rng(0).integers(0, 4, len(y))
    for labels in (y, guesses):
        assert "wrong-labels" not in ids(evaluate(adapted(), x, labels, attacks=PGD))


@pytest.mark.parametrize(
    ("clip", "fires"), [((0, 255), True), ((-1e5, 1e5), True), ((-1, 1), False), ((0, 10), False)]
)
def test_a_clip_range_far_beyond_the_data(clip, fires, data):
    assert ("suspicious-range" in ids(evaluate(adapted(clip=clip), *data, attacks=PGD))) == fires


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_a_radius_that_holds_all_the_data(norm, data):
    x, y = data
    order = {"Linf": np.inf, "L2": 2, "L1": 1}[norm]
    few = x[probe_samples(len(x), x[0].size)].astype(np.float64)
    diameter = max(np.linalg.norm(a - b, order) for a in few for b in few)
    assert probe_data(few)["diameter"][norm] == pytest.approx(diameter)
    for delta, fires in ((1.01 * diameter, True), (0.99 * diameter, False)):
        still = as_attack(lambda module, x, y: x, name="still", norms=norm)
        found = ids(evaluate(adapted(clip=(-4, 4)), x, y, attacks=still, deltas={norm: [delta]}))
        assert ("radius-beyond-data" in found) == fires


LOSSES = {
    "weights": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0])), "weight=…"),
    "smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), "label_smoothing=0.1"),
    "a class left out": (nn.CrossEntropyLoss(ignore_index=1), "ignore_index=1"),
    "plain": (nn.CrossEntropyLoss(reduction="sum"), None),
}


@pytest.mark.parametrize(("loss", "words"), LOSSES.values(), ids=LOSSES)
def test_losses_that_are_not_used_are_named_once(loss, words, data):
    results = evaluate(adapted(loss=loss), *data, attacks=[*PGD, "art_flat:GaussianNoise"])
    found = [f for f in results.findings() if f.id == "other-loss"]
    assert len(found) == (words is not None)
    if words:
        assert found[0].severity == "info"
        assert words in found[0].what
        assert "−log p_y" in found[0].advice
    z = results.clean
    assert np.allclose(z["loss"], -np.log(z["prob_label"]))


def outside(share, budget):
    def run(module, x, y, **given):
        far = torch.arange(len(x)) < share * len(x)
        return torch.where(far[:, None], x + 0.3, x + 0.05)

    return as_attack(run, name="far", norms="Linf", budget=budget, version=f"{share}")


@pytest.mark.parametrize(
    ("share", "budget", "severity"),
    [(1, "fixed", "error"), (0.95, "fixed", "error"), (0.5, "fixed", "warning"), (0, "fixed", None),
     (1, "none", "warning"), (0.5, "none", None), (1, "minimum-norm", None)],
)  # fmt: skip
def test_points_outside_the_ball_are_counted_and_measured(share, budget, severity, data):
    x, y = data
    results = evaluate(adapted(clip=(-1, 2)), x, y, attacks=[outside(share, budget)])
    finding = ids(results).get("outside-budget")
    assert (finding and finding.severity) == severity
    if finding:
        assert f"{round(40 * share)} of 40 points lie outside the ball, up to 0.3 at δ = 0.1" in finding.what


def test_a_run_with_nothing_wrong_has_none_of_these(data):
    assert ids(evaluate(adapted(), *data, attacks=PGD)).keys() <= {"flat-but-wrong", "step-above-radius"}


def test_answers_are_kept_in_the_folder(data, tmp_path):
    calls = []

    def counted(x):
        calls.append(len(x))
        return x

    run = functools.partial(evaluate, adapted(counted), *data, attacks=PGD, out=tmp_path)
    first = run().facts
    calls.clear()
    again = run().facts
    assert {k: first[k] for k in ("models_asked", "data_asked")} == {
        k: again[k] for k in ("models_asked", "data_asked")
    }
    assert 2 not in calls  # the batches that hold a sample twice


def test_models_are_asked_once(data):
    sizes = []

    def counted(x):
        sizes.append(len(x))
        return x

    net = adapted(counted)
    sizes.clear()
    evaluate(net, *data, attacks="art_flat:GaussianNoise", certify=None)
    asked = Counter(sizes)
    assert (asked[8], asked[2]) == (4, 8)  # twice for the fingerprint, then in pairs
    assert not asked[32]


def test_evenly_spaced_and_few_where_inputs_are_large():
    assert probe_samples(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert len(probe_samples(10_000, 3 * 32 * 32)) == 32
    assert len(probe_samples(10_000, 3 * 224 * 224)) == 13
    assert probe_samples(101, 1 << 30).tolist()[-1] == 100


def test_binary_labels_swapped():
    model = nn.Linear(2, 2, bias=False)
    nn.init.eye_(model.weight)
    x = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)).numpy()
    net = as_classifier(model, input_shape=(2,), nb_classes=2)
    assert "wrong-labels" in ids(evaluate(net, x, 1 - x.argmax(axis=1), attacks=PGD))
