"""NaN and infinite outputs at any subset of samples and attacks, in `evaluate`, `metrics` and `scores` alike."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import art_flat as af
from art_flat import metrics, scores
from art_flat.attacks import as_attack
from art_flat.evaluation import ALL_ATTACKS, Results
from art_flat.models import as_classifier
from art_flat.records.schema import UNDEFINED_OUTPUTS
from art_flat.reporting._page import render

N, M = 20, 3
DEFINED, UNDEFINED = 0.6, 0.7
"""Values of the third input."""
INSIDE, OUTSIDE, NO_POINT = "inside", "outside", "no point"


class Marked(nn.Module):
    """Linear in the first two inputs; the output is undefined where the third lies in a narrow band."""

    def __init__(self, bad):
        super().__init__()
        self.head, self.bad = nn.Linear(2, 2, bias=False), bad
        nn.init.eye_(self.head.weight)

    def forward(self, x):
        return self.head(torch.where((x[:, 2:] - UNDEFINED).abs() < 0.01, self.bad, x[:, :2]))


def moves(number, kinds, undefined):
    """An attack that moves samples by 0.1, or out of the ball, or gives no point; and marks some of them."""

    def run(module, x, y, delta, norm):
        points = x.clone()
        points[:, 0] -= torch.tensor([0.5 if kind == OUTSIDE else 0.1 for kind in kinds])
        points[torch.tensor(undefined), 2] = UNDEFINED
        points[torch.tensor([kind == NO_POINT for kind in kinds])] = torch.nan
        return points

    return as_attack(run, name=f"move{number}", norms="Linf", budget="fixed", version="1")


samples = st.fixed_dictionaries(
    {
        "logit": st.sampled_from([0.52, 0.6, 0.9]),
        "label": st.sampled_from([0, 1]),
        "undefined": st.booleans(),
        "attacks": st.lists(
            st.tuples(st.sampled_from([INSIDE, OUTSIDE, NO_POINT]), st.booleans()), min_size=M, max_size=M
        ),
    }
)


def loss(first, second, label):
    values = (first, second)
    return math.log(math.exp(first) + math.exp(second)) - values[label]


def expected(cases, attacks):
    """Per sample and over `attacks`: counted, clean-correct, right at every point, and the worst loss change."""
    rows = []
    for case in cases:
        mine = _of(case, attacks)
        finished = [(kind, bad) for kind, bad in mine if kind != NO_POINT]
        inside = [bad for kind, bad in finished if kind == INSIDE]
        clean, label = case["logit"], case["label"]
        broken = case["undefined"] or any(inside)
        moved = [(clean - 0.1, 0.5)] * bool(inside)
        right = not case["undefined"] and (clean < 0.5) == bool(label)
        stays = right and not broken and all((a < b) == bool(label) for a, b in moved)
        change = max([0.0, *(loss(a, b, label) - loss(clean, 0.5, label) for a, b in moved)])
        rows.append((bool(finished) or case["undefined"], right, stays, math.inf if broken else change))
    return rows


def shares(rows):
    counted = [r for r in rows if r[0]]
    if not counted:
        return 0, math.nan, math.nan, math.nan
    rights = [right for _, right, _, _ in counted]
    robust = [stays for _, _, stays, _ in counted]
    steady = [change <= 0.08 for _, _, _, change in counted]
    return len(counted), *(sum(values) / len(counted) for values in (rights, robust, steady))


@given(cases=st.lists(samples, min_size=N, max_size=N), bad=st.sampled_from([math.nan, math.inf]))
@settings(max_examples=3, deadline=None)
def test_undefined_outputs_anywhere(cases, bad):
    net = af.adapt(as_classifier(Marked(bad), input_shape=(3,), nb_classes=2))
    x = np.float32([[c["logit"], 0.5, UNDEFINED if c["undefined"] else DEFINED] for c in cases])
    y = np.array([c["label"] for c in cases])
    attacks = [moves(a, *zip(*(c["attacks"][a] for c in cases), strict=True)) for a in range(M)]
    results = af.evaluate(net, x, y, attacks=attacks, deltas={"Linf": [0.2]}, certify=None, epsilons=[0.08])
    summary = results.summary().set_index("attack")
    for chosen in [[0], [1], [2], [0, 1, 2]]:
        row = summary.loc[ALL_ATTACKS if len(chosen) > 1 else attacks[chosen[0]].name]
        rows = expected(cases, chosen)
        got = row[["n_evaluated", "accuracy", "robust_accuracy", "loss_change_robustness@0.08"]].tolist()
        assert got == pytest.approx(shares(rows), nan_ok=True)
        assert row["n_unfinished"] == sum(not counted for counted, *_ in rows)
        failed = [
            (c["undefined"] or undefined or kind == NO_POINT)
            for c in cases
            for kind, undefined in _of(c, chosen)
        ]
        assert row["n_failed"] == sum(failed)
    _same_by_metrics(net, x, y, attacks, cases)
    _same_by_scores(net, x, y, attacks, cases)
    _listed(results, cases)


def _of(case, chosen):
    return [case["attacks"][a] for a in chosen]


def _same_by_metrics(net, x, y, attacks, cases):
    rows = expected(cases, range(M))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", metrics.OutsideBallWarning)
        each = metrics.loss_change_robustness(
            net, x, y, attack=attacks, delta=0.2, epsilon=0.08, reduction="none"
        )
    want = [float(change <= 0.08) if counted else math.nan for counted, _, _, change in rows]
    assert each.tolist() == pytest.approx(want, nan_ok=True)


def _same_by_scores(net, x, y, attacks, cases):
    rows = expected(cases, range(M))
    if not any(counted for counted, *_ in rows):
        return
    found = [attack(net, x, y, delta=0.2, norm="Linf") for attack in attacks]
    z_adv = torch.stack([f.outputs.logits for f in found])
    masks = {
        "admissible": np.stack([f.within_budget for f in found]),
        "finished": np.stack([f.status != "failed" for f in found]),
    }
    z = net.logits(x)
    _, _, accuracy, robust = shares(rows)
    assert scores.robust_accuracy_score(y, z, z_adv, **masks) == pytest.approx(accuracy)
    assert scores.loss_change_robustness_score(y, z, z_adv, epsilon=0.08, **masks) == pytest.approx(robust)


def _listed(results, cases):
    undefined = [c["undefined"] or any(b and k != NO_POINT for k, b in c["attacks"]) for c in cases]
    findings = {f.id: f for f in results.findings()}
    assert ("undefined-outputs" in findings) == any(undefined)
    if any(undefined):
        assert findings["undefined-outputs"].severity == "error"
        assert findings["undefined-outputs"].samples == tuple(np.flatnonzero(undefined))
    failures = results.failures()
    listed = failures["error"].isin(UNDEFINED_OUTPUTS)
    finished = [k != NO_POINT for c in cases for k, _ in c["attacks"]]
    wanted = [c["undefined"] or b for c in cases for _, b in c["attacks"]]
    assert failures["n"][listed].sum() == sum(f and w for f, w in zip(finished, wanted, strict=True))


def all_undefined():
    """A model whose every output is NaN, though not while it is adapted."""
    model = Marked(torch.nan)
    net = af.adapt(as_classifier(model, input_shape=(3,), nb_classes=2))
    model.forward = lambda x: model.head(x[:, :2] * torch.nan)
    x, y = np.full((8, 3), 0.4, np.float32), np.zeros(8, int)
    return af.evaluate(net, x, y, attacks=["art_flat:PGD(steps=2)"], deltas={"Linf": [0.1]}, certify=None)


def test_a_model_that_is_undefined_everywhere_has_robust_accuracy_0(tmp_path):
    results = all_undefined()
    row = results.summary().iloc[0]
    assert row[["n_evaluated", "n_failed", "accuracy", "robust_accuracy"]].tolist() == [8, 8, 0, 0]
    assert row["loss_change_robustness@1"] == 0
    (finding, *_) = results.findings()
    assert (finding.id, finding.severity) == ("undefined-outputs", "error")
    results.save(tmp_path / "run")
    again = Results.load(tmp_path / "run")
    assert again.findings() == results.findings()
    text = again.to_markdown()
    assert text.index("undefined-outputs") < text.index("robust accuracy")
    assert "count as not robust" in text
    page = render(again)
    assert page.index("undefined-outputs") < page.index("Wrong without any attack")


def test_shares_of_fewer_samples_are_marked():
    net = af.adapt(as_classifier(Marked(torch.nan), input_shape=(3,), nb_classes=2))
    x, y = np.full((4, 3), DEFINED, np.float32), np.zeros(4, int)
    lossy = moves(0, [NO_POINT, INSIDE, INSIDE, INSIDE], [False] * 4)
    marked = af.evaluate(net, x, y, attacks=[lossy], deltas={"Linf": [0.2]}, certify=None)
    whole = af.evaluate(
        net, x, y, attacks=[moves(0, [INSIDE] * 4, [False] * 4)], deltas={"Linf": [0.2]}, certify=None
    )
    assert marked.summary().loc[0, ["n_evaluated", "n_unfinished"]].tolist() == [3, 1]
    for show in (Results.to_markdown, render):
        assert "‡ no attack finished on some samples (up to 1)" in show(marked)
        assert "‡" not in show(whole)


def test_undefined_outputs_are_not_computed_again(tmp_path):
    net = af.adapt(as_classifier(Marked(torch.nan), input_shape=(3,), nb_classes=2))
    x, y = np.float32([[0.6, 0.5, UNDEFINED], [0.6, 0.5, 0.1]]), np.zeros(2, int)
    run = {"deltas": {"Linf": [0.2]}, "certify": None, "out": tmp_path, "attacks": "art_flat:GaussianNoise"}
    first = af.evaluate(net, x, y, **run)
    assert (first.adversarial["status"] == "failed").any()
    units = []
    af.evaluate(net, x, y, **run, progress=lambda p: units.append(p.current))
    assert not any(units)
