"""Certificates over balls in a run: rows as the bounds, smallest of all kinds read, equal with workers and resume."""

import numpy as np
import pandas as pd
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

import art_flat as af
from art_flat import certification
from art_flat.errors import UnknownNameError
from art_flat.evaluation.settings import Settings
from art_flat.records import Records

DELTAS = {"Linf": [0.02, 0.06], "L2": [0.1]}
ATTACK = "art_flat:PGD(steps=3)"


def net(*layers, width=4):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 8), *(layers or (nn.ReLU(),)), nn.Linear(8, 3))
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), (width,), nb_classes=3, clip_values=(0, 1))


@pytest.fixture(scope="module")
def case():
    x = np.random.default_rng(0).random((12, 4), dtype=np.float32)
    return net(), x, af.adapt(net()).predict(x)


@pytest.fixture(scope="module")
def run(case, tmp_path_factory):
    classifier, x, y = case
    folder = tmp_path_factory.mktemp("run") / "r"
    return af.evaluate(
        classifier, x, y, deltas=DELTAS, attacks=ATTACK, certify="crown", shard_size=5, out=folder
    )


def test_a_row_per_kind_and_radius_holds_the_bounds(case, run):
    classifier, x, y = case
    table = run.certified[run.certified["kind"] == "crown"]
    assert len(table) == 3 * len(x)
    assert table["lipschitz"].isna().all()
    for (norm, delta), rows in table.groupby(["norm", "delta"]):
        found = certification.bounds_in_ball(
            classifier.model.eval(), torch.from_numpy(x), torch.from_numpy(y), delta=delta, norm=norm
        )
        rows = rows.sort_values("sample")
        np.testing.assert_allclose(rows["loss_increase_bound"], found.loss_increase, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(rows["label_kept"].astype(bool), found.label_kept)
    others = run.certified[run.certified["kind"] != "crown"]
    assert set(others["kind"]) == {"best"}
    assert others["label_kept"].isna().all()


def test_bounds_are_above_every_attack(case, run):
    classifier, x, y = case
    model, clean = classifier.model.double(), None
    bound = run.certified.groupby(["norm", "delta", "sample"])["loss_increase_bound"].min()
    for norm, delta in (("Linf", 0.02), ("Linf", 0.06), ("L2", 0.1)):
        direction = np.random.default_rng(1).choice([-1.0, 1.0], (40, *x.shape))
        step = direction * delta / (2 if norm == "L2" else 1)
        points = np.clip(x + step, 0, 1)
        with torch.no_grad():
            loss = [
                nn.functional.cross_entropy(
                    model(torch.from_numpy(p)), torch.from_numpy(y), reduction="none"
                ).numpy()
                for p in (x.astype(float), *points)
            ]
        clean, worst = loss[0], np.max(loss[1:], axis=0)
        assert (bound[norm, delta].sort_index().to_numpy() >= worst - clean).all()
    model.float()


def test_the_summary_reads_the_smallest_bound_over_kinds_and_larger_balls(run):
    table = run.certified
    summary = run.summary(epsilons=[0.1])
    cells = summary[(summary["attack"] == "all attacks") | (summary["attack"] == summary["attack"].iloc[-1])]
    for _, cell in cells[cells["certified@0.1"].notna()].iterrows():
        around = table[(table["norm"] == cell["norm"]) & (table["delta"] >= cell["delta"])]
        smallest = around.groupby("sample")["loss_increase_bound"].min()
        assert cell["certified@0.1"] == (smallest <= 0.1).mean()
        assert cell["certified_accuracy"] <= cell["robust_accuracy"]
        assert cell["certified@0.1"] <= cell["loss_change_robustness@0.1"]
    assert "crown" in set(cells["bound_kind"])
    assert {"certified", "empirical"} <= set(run.surface([0.1]).columns)


def test_a_smaller_bound_of_a_larger_ball_holds_and_nothing_of_a_smaller_one(run):
    tables = {t: getattr(run, t).copy() for t in ("models", "clean", "adversarial", "certified")}
    certified = tables["certified"]
    wide = (certified["norm"] == "Linf") & (certified["delta"] == 0.06)
    certified.loc[~wide, "loss_increase_bound"] = 5.0
    certified.loc[wide, "loss_increase_bound"] = 0.25
    certified["label_kept"] = pd.array([None] * len(certified), dtype="boolean")
    records = Records(**tables, facts=run.facts)
    rows = records.of_model("model")
    assert (rows.certificate("Linf", 0.02).bound == 0.25).all()
    assert (rows.certificate("L2", 0.1).bound == 5.0).all()
    assert rows.certificate("Linf", 0.07) is None


def resumed(case, folder, **options):
    classifier, x, y = case
    grid = {"deltas": DELTAS, "attacks": ATTACK, "certify": "crown", "shard_size": 5, "out": folder}
    af.evaluate(classifier, x, y, part="1/2", **grid)
    made = af.evaluate(classifier, x, y, **grid, **options)
    return made.certified.sort_values(["sample", "norm", "delta", "kind"], ignore_index=True)


def test_parts_and_resume_give_equal_records(case, run, tmp_path):
    whole = run.certified.sort_values(["sample", "norm", "delta", "kind"], ignore_index=True)
    pd.testing.assert_frame_equal(resumed(case, tmp_path / "r"), whole, check_exact=True)


@pytest.mark.slow
def test_workers_give_equal_records(case, run, tmp_path):
    whole = run.certified.sort_values(["sample", "norm", "delta", "kind"], ignore_index=True)
    pd.testing.assert_frame_equal(resumed(case, tmp_path / "r", n_jobs=2), whole, check_exact=True)


def test_what_certifies_follows_the_option(case):
    classifier, x, y = case
    kinds = {}
    for certify in ("auto", "lipschitz", None):
        made = af.evaluate(classifier, x[:3], y[:3], deltas={"L2": [0.1]}, attacks=ATTACK, certify=certify)
        kinds[certify] = set(made.certified["kind"])
    assert kinds == {"auto": {"best", "crown"}, "lipschitz": {"best"}, None: set()}
    with pytest.raises(UnknownNameError, match="alpha"):
        Settings(certify="alpha")


def test_nets_without_bounds_are_named_in_a_finding(case):
    _, x, y = case
    made = af.evaluate(net(nn.GELU()), x, y, deltas={"L2": [0.1]}, attacks=ATTACK, certify="auto")
    (found,) = [f for f in made.findings() if f.id == "certificates-skipped"]
    assert "GELU" in str(found)
