"""The paper's experiments in small, on digits: the direction of each effect, by the code of benchmarks/paper."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import bootstrap, norm

import art_flat as af
from art_flat.datasets import load_dataset
from art_flat.detection import detection_table
from art_flat.models import as_classifier, digits_cnn, fcn
from art_flat.training import Adversary, train

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "paper"
pytest.importorskip("torchattacks")
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmarks are not here")


@pytest.fixture(scope="module")
def paper() -> Iterator[Any]:
    """The package `experiments` of benchmarks/paper, with the modules beside it."""
    own = {"experiments", "page", "run"}  # benchmarks/ has a `run` too, which other tests import

    def taken() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in own}

    others = taken()
    sys.path.insert(0, str(FOLDER))
    try:
        import experiments
        import page
        import run

        experiments.page, experiments.run = page, run
        experiments.units = sys.modules["experiments.units"]
        experiments.detecting = sys.modules["experiments.detection"]
        yield experiments
    finally:
        sys.path.remove(str(FOLDER))
        taken()
        sys.modules.update(others)


class Trained:
    """A net trained on digits in place of a file of weights."""

    def __init__(self, paper: Any, name: str, model: Any, **settings: Any) -> None:
        self.data, test = load_dataset("digits", split="train"), load_dataset("digits", n=400)
        train(model, self.data.x, self.data.y, batch_size=64, **settings)
        net = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10))
        self.whole = paper.outcome.Case(name, net, test.x, test.y, lambda: self.data)

    def hash(self, seed: int) -> str:
        return self.whole.name

    def case(self, seed: int, n: int) -> Any:
        part = slice(seed * n, (seed + 1) * n)
        return replace(self.whole, x=self.whole.x[part], y=self.whole.y[part])


@pytest.fixture(scope="module")
def cnn(paper: Any) -> Any:
    """The CNN on digits."""
    return Trained(paper, "cnn", digits_cnn(), epochs=20)


@pytest.fixture
def concluded(paper: Any, tmp_path: Path) -> Any:
    """Runs an experiment on nets given as keywords, with these settings."""

    def run(name: str, settings: dict[str, Any], **nets: Any) -> Any:
        experiment = paper.EXPERIMENTS[name]
        section = {"n": 60, "seeds": 3, "norm": "Linf", "nets": list(nets), **settings}
        units = paper.units.plan(experiment, {"own": section}, "own")
        folders = [paper.units.measure(experiment, unit, nets, tmp_path) for unit in units]
        return experiment.conclude(paper.units.collect(units, folders, section))

    return run


def holds(outcome: Any) -> dict[str, bool]:
    return {e.what: e.holds for e in outcome.effects}


PGD = {"attack": "torchattacks:PGD(steps=20, random_start=False)", "delta": 0.3}


def test_an_interval_over_seeds(paper: Any) -> None:
    values = np.random.default_rng(0).normal(1.0, 0.3, 400)
    effect = paper.outcome.Effect("e", values.tolist(), "above", 0.9)
    theirs = bootstrap((values,), np.mean, rng=np.random.default_rng(1)).confidence_interval
    assert effect.interval == pytest.approx(tuple(theirs), abs=0.01)
    assert effect.holds
    assert not paper.outcome.Effect("e", values.tolist(), "below", 1.0).holds
    assert not paper.outcome.Effect("e", [1.0], "above").holds  # one seed has no interval
    assert not paper.outcome.Effect("e", [float("nan")] * 3, "above").holds
    assert not paper.outcome.Effect("e", [1.0, -1.0, 2.0], "above").holds


@pytest.mark.parametrize(("values", "holds"), [([-1.0, 0.0, -30.0], True), ([-1.0, 0.1, -30.0], False), ([-1.0], True),
                                               ([float("nan"), -1.0], False)])  # fmt: skip
def test_what_a_theorem_says_must_hold_for_every_seed(paper: Any, values: list[float], holds: bool) -> None:
    effect = paper.outcome.Effect("e", values, "below", 0.05, always=True)
    assert effect.holds == holds
    if holds:
        assert effect.interval == (min(values), max(values))


def test_a_unit_per_variant_net_and_seed(paper: Any) -> None:
    variants = [{"nets": ["a", "b"], "delta": 1.0, "what": "one"}, {"nets": ["c"], "delta": 2.0, "n": 7}]
    section = {"attack": "x", "norm": "L2", "seeds": 2, "public": {"n": 5, "variants": variants}}
    units = paper.units.plan(paper.EXPERIMENTS["valley"], section, "public")
    seen = [(u.what, u.nets, u.n, u.seed, u.arguments["delta"]) for u in units]
    assert seen == [
        ("one", ("a",), 5, 0, 1.0), ("one", ("a",), 5, 1, 1.0), ("one", ("b",), 5, 0, 1.0),
        ("one", ("b",), 5, 1, 1.0), ("", ("c",), 7, 0, 2.0), ("", ("c",), 7, 1, 2.0),
    ]  # fmt: skip
    assert paper.units.plan(paper.EXPERIMENTS["valley"], section, "own") == []


def test_a_unit_is_measured_once_and_again_where_anything_changed(paper: Any, tmp_path: Path) -> None:
    calls = []

    def count(cases: Any, seed: int, folder: Path, *, norm: str) -> dict[str, pd.DataFrame]:
        calls.append((cases[0].name, seed, norm))
        if norm == "stops":
            raise KeyboardInterrupt
        return {"numbers": pd.DataFrame({"value": [1.5]})}

    class Net:
        def __init__(self, content: str) -> None:
            self.content = content

        def hash(self, seed: int) -> str:
            return self.content

        def case(self, seed: int, n: int) -> Any:
            return paper.outcome.Case("net", None, np.zeros(n), np.zeros(n))

    experiment = paper.units.Experiment(count, lambda measured: measured)

    def run(content: str, norm: str, n: int = 5) -> Any:
        section = {"own": {"nets": ["net"], "n": n, "seeds": 2, "norm": norm}}
        units = paper.units.plan(experiment, section, "own")
        folders = [paper.units.measure(experiment, u, {"net": Net(content)}, tmp_path) for u in units]
        return paper.units.collect(units, folders, {})

    rows = run("a", "L2").tables["numbers"]
    assert rows.to_dict("list") == {"value": [1.5] * 2, "what": [""] * 2, "net": ["net"] * 2, "seed": [0, 1]}
    run("a", "L2")
    assert calls == [("net", 0, "L2"), ("net", 1, "L2")]
    for changed in (("b", "L2"), ("a", "L1"), ("a", "L2", 6)):
        before = len(calls)
        run(*changed)
        assert len(calls) == before + 2
    with pytest.raises(KeyboardInterrupt):
        run("a", "stops")
    with pytest.raises(KeyboardInterrupt):  # an interrupted unit is not taken as measured
        run("a", "stops")


def test_the_settings_name_nets_that_are_described_and_share_points(paper: Any) -> None:
    settings = tomllib.loads((FOLDER / "settings.toml").read_text(encoding="utf-8"))
    described = set(settings["nets"]["public"]) | set(settings["nets"]["own"])
    points: dict[str, set[str]] = {}
    for name, experiment in paper.EXPERIMENTS.items():
        units = [
            u for source in paper.units.SOURCES for u in paper.units.plan(experiment, settings[name], source)
        ]
        assert units, name
        assert {net for unit in units for net in unit.nets} <= described
        points[name] = {str(unit) for unit in units}
    assert points["confidence"] <= points["detection"]  # nothing is attacked twice
    notes = tomllib.loads((FOLDER / "notes.toml").read_text(encoding="utf-8"))
    assert set(notes["experiments"]) == set(paper.EXPERIMENTS)


@pytest.mark.slow
def test_masking(cnn: Any, concluded: Any) -> None:
    settings = {"attack": "torchattacks:PGD(steps=10)", "delta": 0.3, "scales": [1.0, 100.0]}
    rows = concluded("masking", settings, cnn=cnn).table.set_index("scale")
    assert rows.loc[1.0, "robust_accuracy"] < 0.1
    assert rows.loc[100.0, "robust_accuracy"] > 0.8
    assert rows.loc[100.0, "transfer_success"] == pytest.approx(rows.loc[1.0, "transfer_success"], abs=0.01)
    assert rows.loc[100.0, "zero_gradients"] >= rows.loc[100.0, "zero_gradients_float64"]


@pytest.mark.slow
def test_valley_and_its_page(paper: Any, cnn: Any, concluded: Any, tmp_path: Path) -> None:
    outcome = concluded("valley", PGD, cnn=cnn)
    found = holds(outcome)
    assert found["cnn: median log κ peak − clean"]
    assert found["cnn: median log κ end − peak"]
    assert found["cnn: share with the peak at the flip ± 1 step"]
    assert found["cnn: least height of a ridge over its bound"]  # exact, whatever the net
    units = paper.units.plan(
        paper.EXPERIMENTS["valley"],
        {"own": {"n": 60, "seeds": 3, "norm": "Linf", "nets": ["cnn"], **PGD}},
        "own",
    )
    folders = [paper.units.measure(paper.EXPERIMENTS["valley"], u, {"cnn": cnn}, tmp_path) for u in units]
    paper.run.write_outcome(tmp_path / "results" / "own" / "valley", outcome, units, folders)
    paper.page.write_results(tmp_path / "results", tmp_path / "RESULTS.md")
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "](results/own/valley/steps.png)" in page
    assert "cnn; up to 180 images a net" in page
    assert "| log κ clean | log κ peak |" in page
    assert "| holds |" in page
    assert page.count("Not run.") == len(paper.EXPERIMENTS) - 1
    opening = page.split("## ")[0]
    held = sum(e.holds for e in outcome.effects)
    assert f"{held} of {len(outcome.effects)} effects hold" in opening


@pytest.mark.slow
def test_weak_l2(cnn: Any, concluded: Any) -> None:
    settings = {
        "attack": "torchattacks:PGDL2(steps=25, alpha=0.01)", "norm": "L2", "delta": 0.1,
        "scales": [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 50.0],
    }  # fmt: skip
    outcome = concluded("weak_l2", settings, cnn=cnn)
    assert holds(outcome)["cnn: rank correlation of s ≥ 1 with the median loss increase"]
    assert outcome.table["robust_accuracy"].min() > 0.8


@pytest.mark.slow
def test_basin(paper: Any, cnn: Any, concluded: Any) -> None:
    adversary = Adversary(norm="L2", delta=1.0, steps=5)
    hardened = Trained(paper, "hardened", digits_cnn(), epochs=20, adversary=adversary)
    attack = "torchattacks:PGDL2(steps={}, alpha=0.02, random_start=False)"
    variants = [
        {"what": "near", "attack": attack.format(50), "delta": 1.0},
        {"what": "far", "attack": attack.format(100), "delta": 2.0},
    ]
    outcome = concluded("basin", {"norm": "L2", "variants": variants}, cnn=cnn, hardened=hardened)
    rows = outcome.table.set_index(["what", "net"])["not_flipped"]
    assert rows["far", "hardened"] < rows["near", "hardened"]
    assert outcome.effects[0].interval[0] > 1.2  # steps to the flip, ratio
    assert holds(outcome)["near: robust accuracy, difference"]


@pytest.mark.slow
def test_detection_is_what_the_librarys_table_says(cnn: Any, concluded: Any) -> None:
    """Points just over the boundary lie on the ridge, and a threshold sees them; far ones are like clean ones."""
    attack = "torchattacks:PGD(steps=20, random_start=False)"
    outcome = concluded("detection", {"attacks": [attack], "deltas": {"Linf": [0.1, 0.4]}}, cnn=cnn)
    table = outcome.table.set_index("delta")
    assert table.loc[0.1, "stump"] > max(0.6, table.loc[0.4, "stump"])
    theirs = pd.concat(
        detection_table(case.net, case.x, case.y, attack, [0.1, 0.4], norm="Linf", seed=seed)
        for seed in range(3) for case in [cnn.case(seed, 60)]
    )  # fmt: skip
    assert theirs.groupby("delta")["stump"].mean().tolist() == pytest.approx(
        table["stump"].tolist(), abs=1e-6
    )
    assert set(outcome.figures) == {"radii", "kappa"}


def pairs_of(log_gini: Any, log_feature_norm: Any, loss: Any) -> pd.DataFrame:
    """Pairs of clean and adversarial points with these factors of κ, given as (clean, adversarial)."""
    frame = {"loss_adv": loss}
    for at, gini, length in zip(("clean", "adv"), log_gini, log_feature_norm, strict=True):
        frame |= {
            f"log_gini_{at}": gini,
            f"log_feature_norm_{at}": length,
            f"log_kappa_{at}": gini + 2 * length,
        }
    return pd.DataFrame(frame)


def test_equally_confident_points_differ_only_by_their_features(paper: Any) -> None:
    draw = np.random.default_rng(0)
    gini = draw.normal(0, 1, 400), draw.normal(-1, 1, 400)  # adversarial points are more confident
    same, none = (np.ones(400), np.ones(400)), np.ones(400)
    found = paper.detecting.matched(pairs_of(gini, same, none))
    assert found["auc"] == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.04)  # of two normals
    assert found["auc_matched"] == pytest.approx(0.5, abs=0.04)
    shorter = np.ones(400), np.full(400, 0.5)
    found = paper.detecting.matched(pairs_of(gini, shorter, none))
    assert found["auc_matched_feature_norm"] == 1.0
    assert found["auc_matched"] > 0.7


def test_no_point_is_flatter_than_its_loss_allows(paper: Any) -> None:
    logits = np.random.default_rng(1).normal(0, 4, (500, 5))
    p = softmax(logits, axis=1)
    loss = -np.log(p[:, 0])
    gini = np.log((p * (1 - p)).sum(axis=1))
    found = paper.detecting.predicted(pairs_of((gini, gini), (loss * 0, loss * 0), loss))
    assert found["excess_min"] >= -1e-9
    two = loss[loss > 1]  # of two classes the loss says everything
    gini = np.log(2 * np.exp(-two) * -np.expm1(-two))
    found = paper.detecting.predicted(pairs_of((gini, gini), (two * 0, two * 0), two))
    assert abs(found["excess"]) < 1e-9
    assert found["true_class_second"] == 1.0


@pytest.mark.slow
def test_across(cnn: Any, concluded: Any) -> None:
    attacks = ["torchattacks:PGD(steps=20)", "torchattacks:VNIFGSM(steps=20)"]
    variants = [
        {"what": "maximises the loss, 0.4", "attacks": attacks},
        {"what": "stops at the boundary, 0.4", "attacks": ["torchattacks:Square(n_queries=100)"]},
        {"what": "noise, 0.4", "attacks": ["art_flat:UniformNoise(steps=10)"]},
    ]
    outcome = concluded("across", {"deltas": {"Linf": [0.4]}, "variants": variants}, cnn=cnn)
    table = outcome.table.set_index("kind")
    pgd, vni = table.loc["maximises the loss"].to_dict("records")
    for row in (pgd, vni):
        assert row["flatter"] > max(
            table.loc["noise", "flatter"], table.loc["stops at the boundary", "flatter"]
        )
    assert "stops at the boundary: torchattacks:Square(n_queries=100), 0.4: share on the ridge" in holds(
        outcome
    )


@pytest.mark.slow
def test_transfer_and_architectures(paper: Any, cnn: Any, concluded: Any) -> None:
    dense = Trained(paper, "fcn", fcn(64, (64, 32)), epochs=20)
    found = holds(concluded("architectures", PGD, cnn=cnn, fcn=dense))
    for net in ("cnn", "fcn"):
        assert found[f"{net}: median log κ peak − clean"]
        assert found[f"{net}: median log κ end − peak"]
    settings = {"attacks": ["torchattacks:PGD(steps=10)"], "deltas": {"Linf": [0.3]}, "transfer": True}
    table = concluded("transfer", settings, cnn=cnn, fcn=dense).table.set_index(["made on", "tried on"])
    assert table.loc[("cnn", "cnn"), "success"] > table.loc[("cnn", "fcn"), "success"] > 0.2


@pytest.mark.slow
def test_longer_training_makes_the_end_flatter(cnn: Any, concluded: Any) -> None:
    settings = PGD | {
        "factory": "art_flat.models:digits_cnn", "training": {"batch_size": 64}, "seeds": 2,
        "variants": [{"what": "2 epochs", "epochs": 2}, {"what": "16 epochs", "epochs": 16}],
    }  # fmt: skip
    outcome = concluded("training_length", settings, cnn=cnn)
    assert outcome.table["epochs"].tolist() == [2, 16]
    assert np.mean(outcome.effects[0].values) < 0


@pytest.mark.slow
def test_beyond(cnn: Any, concluded: Any) -> None:
    settings = {
        "attacks": ["art_flat:PGD(steps=10)", "torchattacks:PGD(steps=10)"],
        "deltas": {"Linf": [0.001, 0.1, 0.3]},
    }
    outcome = concluded("beyond", settings, cnn=cnn)
    found = holds(outcome)
    assert found["cnn: certified minus empirical share, largest"]
    assert found["cnn: records above the repaired bound"]
    assert outcome.table["paper_bound_exceeded"].max() > 0  # it is no bound
    assert outcome.more["definitions"]["rank_correlation"].between(0.8, 1).all()


@pytest.mark.slow
def test_the_floors_on_a_public_net(paper: Any, tmp_path: Path) -> None:
    """The published size of the findings, on ResNet-20; RESULTS.md has them on all images."""
    data = FOLDER.parents[2] / "shared" / "data"
    if not (data / "nets" / "resnet20.safetensors").is_file():
        pytest.skip("the public nets are not here")
    settings = tomllib.loads((FOLDER / "settings.toml").read_text(encoding="utf-8"))
    nets = sys.modules["experiments.cases"].Nets(settings["nets"]["public"], data / "nets", data)

    def table(name: str, **changed: Any) -> pd.DataFrame:
        section = settings[name] | {"public": {"nets": ["resnet20"], "n": 60, **changed}, "seeds": 2}
        units = paper.units.plan(paper.EXPERIMENTS[name], section, "public")
        folders = [paper.units.measure(paper.EXPERIMENTS[name], u, nets, tmp_path) for u in units]
        return paper.EXPERIMENTS[name].conclude(paper.units.collect(units, folders, section)).table

    valley = table("valley").iloc[0]
    assert valley["in_valley"] >= 0.95
    assert valley["loss_adversarial"] >= 30
    scaled = table("masking", scales=[1.0, 100.0]).set_index("scale")
    assert scaled.loc[100.0, "robust_accuracy"] >= 0.85 * scaled.loc[100.0, "accuracy"]
    assert scaled.loc[100.0, "transfer_success"] >= 0.99
    assert table("detection", deltas={"Linf": ["8/255"]})["stump"].iloc[0] >= 0.9
