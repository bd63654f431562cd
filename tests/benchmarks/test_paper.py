"""The paper's experiments in small, on digits: the direction of each effect, by the code of benchmarks/paper."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paper_cases import FOLDER, holds, paper_fixture  # noqa: F401

import art_flat as af
from art_flat.datasets import load_dataset
from art_flat.detection import detection_table
from art_flat.models import as_classifier, digits_cnn, fcn
from art_flat.training import Adversary, train

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmarks are not here")


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


PGD = {"attack": "torchattacks:PGD(steps=20, random_start=False)", "delta": 0.3}


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
