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
from art_flat.evaluation import ball_certificates, plan
from art_flat.evaluation.planning import CERTIFICATES
from art_flat.evaluation.settings import Settings
from art_flat.records import Records
from art_flat.reporting._verdict import verdicts

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


@pytest.mark.slow
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
    assert cells["bound_kind"].str.contains("crown").any()
    worst = cells[cells["certified@0.1"].notna()].set_index(["norm", "delta"])
    for row in run.surface([0.1]).to_dict("records"):
        cell = worst.loc[(row["norm"], row["delta"])]
        assert (row["certified"], row["bound_kind"]) == (cell["certified@0.1"], cell["bound_kind"])
    assert "Certified over balls of inputs (model), bound: crown" in " ".join(verdicts(summary)[0]["notes"])


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


@pytest.mark.slow
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
    assert kinds == {"auto": {"best", "crown_interval", "crown"}, "lipschitz": {"best"}, None: set()}
    with pytest.raises(UnknownNameError, match="alpha"):
        Settings(certify="alpha")


def test_nets_without_bounds_are_named_in_a_finding(case):
    _, x, y = case
    made = af.evaluate(net(nn.GELU()), x, y, deltas={"L2": [0.1]}, attacks=ATTACK, certify="auto")
    (found,) = [f for f in made.findings() if f.id == "certificates-skipped"]
    assert "GELU" in str(found)


# certify="auto"


def tables(run):
    """The bounds by kind: (norm, δ, sample) → nats."""
    rows = run.certified[run.certified["lipschitz"].isna()]
    return {
        k: f.set_index(["norm", "delta", "sample"])["loss_increase_bound"] for k, f in rows.groupby("kind")
    }


@pytest.fixture(scope="module")
def auto(case):
    classifier, x, y = case
    return af.evaluate(classifier, x, y, deltas={"Linf": [0.02, 0.2]}, attacks=ATTACK, shard_size=5)


def test_full_bounds_follow_where_cheap_ones_leave_an_epsilon_open(auto):
    kinds, rows = tables(auto), auto.records()
    assert len(kinds["crown_interval"]) == 2 * 12
    change = rows.assign(norm="Linf").set_index(["norm", "delta", "sample"])["loss_change"]
    is_open = (kinds["crown_interval"] > 0.01) & ~(change.reindex(kinds["crown_interval"].index) > 1.0)
    assert set(kinds["crown"].index) == set(is_open[is_open].index)
    assert 0 < len(kinds["crown"]) < len(is_open)
    assert (kinds["crown"] <= kinds["crown_interval"].reindex(kinds["crown"].index)).all()


def test_bounds_of_a_sample_do_not_depend_on_the_other_radii(case, auto):
    classifier, x, y = case
    for radii, shard_size in (([0.02], 12), ([0.02, 0.05, 0.2], 4)):
        other = af.evaluate(
            classifier, x, y, deltas={"Linf": radii}, attacks=ATTACK, shard_size=shard_size, lipschitz=None
        )
        for kind, bounds in tables(other).items():
            expected = tables(auto)[kind].reindex(bounds.index).dropna()
            assert len(expected) >= 3
            np.testing.assert_allclose(bounds[expected.index], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_parts_workers_and_resume_with_auto(case, auto, tmp_path):
    classifier, x, y = case
    options = {"deltas": {"Linf": [0.02, 0.2]}, "attacks": ATTACK, "shard_size": 5}
    parts = [tmp_path / "1", tmp_path / "2"]
    for i, out in enumerate(parts, 1):
        part = af.evaluate(classifier, x, y, out=out, part=(i, 2), **options)
        assert part.missing_units > 0
    merged = af.evaluation.merge(parts, tmp_path / "whole")
    assert (merged.results.missing_units, merged.added) == (0, 12)
    one = Records.load(tmp_path / "whole")
    pd.testing.assert_frame_equal(one.certified, auto.certified, check_exact=True)
    states = []
    again = af.evaluate(classifier, x, y, out=tmp_path / "whole", **options, progress=states.append)
    assert states[-1].recorded == states[-1].total == 12
    pd.testing.assert_frame_equal(again.certified, auto.certified, check_exact=True)
    fewer = af.evaluate(classifier, x, y, out=tmp_path / "whole", epsilons=[1.0], **options)
    assert fewer.missing_units == 0
    assert len(tables(fewer).get("crown", [])) < len(tables(auto)["crown"])
    assert len(tables(fewer)["crown_interval"]) == 2 * 12


@pytest.mark.slow
def test_workers_give_equal_records_with_auto():
    torch.manual_seed(0)
    model = PyTorchClassifier(
        af.models.digits_cnn(), nn.CrossEntropyLoss(), (1, 8, 8), nb_classes=10, clip_values=(0, 1)
    )
    x = np.random.default_rng(0).random((6, 1, 8, 8), dtype=np.float32)
    y = af.adapt(model).predict(x)
    one, two = (
        af.evaluate(model, x, y, deltas={"Linf": [0.003]}, attacks=ATTACK, shard_size=3, n_jobs=n)
        for n in (1, 2)
    )
    assert {"crown_interval", "crown"} <= set(one.certified["kind"])
    order = ["sample", "kind"]
    first, second = (made.certified.sort_values(order, ignore_index=True) for made in (one, two))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_progress_and_findings_report_where_full_bounds_stop(case, monkeypatch):
    _, x, y = case
    classifier = net(nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
    monkeypatch.setattr(ball_certificates, "ALWAYS", 0.0)
    options = {"deltas": {"Linf": [0.2]}, "attacks": ATTACK}
    costs = {"interval": 1.0, "crown_interval": 1.0, "crown": 1e4}  # the attacks cost thousands of operations
    monkeypatch.setattr(ball_certificates, "operations_of_bounds", lambda graph, kind: costs[kind])
    states = []
    made = af.evaluate(classifier, x, y, **options, progress=states.append)
    notes = [s.note for s in states if s.note.startswith("certificates of model")]
    assert any("crown_interval, 0 of 12 samples" in note for note in notes)
    assert any(note.endswith("open samples, as the cost of the attacks allows") for note in notes)
    (found,) = [f for f in made.findings() if f.id == "certificates-limited"]
    assert 0 < len(tables(made)["crown"]) < 12
    assert set(found.samples) <= set(range(12))
    assert 'certify="crown"' in found.advice
    costs["crown"] = 1e6  # more for one sample than the attacks on all
    without = af.evaluate(classifier, x, y, **options)
    assert "crown" not in tables(without)
    (found,) = [f for f in without.findings() if f.id == "certificates-limited"]
    assert "no sample got them" in found.advice
    costs["crown"] = 1e4
    monkeypatch.setattr(ball_certificates, "LONGEST", 5e3)
    assert "crown" not in tables(af.evaluate(classifier, x, y, **options))
    costs["crown_interval"] = 1e6
    cheap = af.evaluate(classifier, x, y, **options)
    assert tables(cheap).keys() == {"interval"}
    assert [f.id for f in cheap.findings() if f.id.startswith("certificates")] == ["certificates-skipped"]


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        if x.sum() > 1e6:
            x = x / 2
        return self.head(x)


def test_auto_never_raises(case, monkeypatch):
    _, x, y = case
    model = PyTorchClassifier(Untraceable(), nn.CrossEntropyLoss(), (4,), nb_classes=3, clip_values=(0, 1))
    made = af.evaluate(model, x, y, deltas={"Linf": [0.1]}, attacks=ATTACK)
    (found,) = [f for f in made.findings() if f.id == "certificates-skipped"]
    assert "fx cannot follow" in found.advice
    assert "lipschitz=" in found.advice

    def fails(self, *_, **__):
        raise MemoryError("no memory")

    monkeypatch.setattr(af.adapters.Adapter, "bounds_in_ball", fails)
    with pytest.warns(ball_certificates.CertificateWarning, match="no memory"):
        made = af.evaluate(net(), x, y, deltas={"Linf": [0.1]}, attacks=ATTACK, lipschitz=None)
    assert (made.certified["loss_increase_bound"] == np.inf).all()
    assert made.summary()["certified_accuracy"].tolist() == [0.0]


def test_the_plan_counts_certificates(case):
    classifier, x, y = case
    made = plan(classifier, x, y, deltas=DELTAS, attacks=ATTACK, shard_size=6, probe_seconds=0.001)
    rows = made.units[made.units["attack"] == CERTIFICATES]
    assert sorted(zip(rows["norm"], rows["delta"], strict=True)) == 2 * [("L2", 0.1)] + 2 * [
        ("Linf", 0.02)
    ] + 2 * [("Linf", 0.06)]
    assert (rows["seconds"] > 0).all()
    assert (rows["bytes"] > 0).all()
