"""The paper's experiments in small, on digits: the direction of each effect, by the code of benchmarks/paper."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

import art_flat as af
from art_flat.datasets import load_dataset
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
        yield experiments
    finally:
        sys.path.remove(str(FOLDER))
        taken()
        sys.modules.update(others)


def case(paper: Any, name: str, model: Any, **settings: Any) -> Any:
    data, test = load_dataset("digits", split="train"), load_dataset("digits", n=400)
    train(model, data.x, data.y, batch_size=64, **settings)
    net = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10))
    return paper.outcome.Case(name, net, test.x, test.y)


@pytest.fixture(scope="module")
def cnn(paper: Any) -> Any:
    """The CNN on digits."""
    return case(paper, "cnn", digits_cnn(), epochs=20)


def holds(outcome: Any) -> dict[str, bool]:
    return {e.what: e.holds for e in outcome.effects}


SIZE = {"n": 60, "seeds": 3, "norm": "Linf"}


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


@pytest.mark.slow
def test_seeds_have_images_of_their_own(paper: Any, cnn: Any) -> None:
    blocks = list(cnn.blocks({"n": 100, "seeds": 9}))
    assert [seed for seed, _, _ in blocks] == [0, 1, 2, 3]  # 400 images
    assert np.array_equal(np.concatenate([x for _, x, _ in blocks]), cnn.x)


@pytest.mark.slow
def test_masking(paper: Any, cnn: Any) -> None:
    settings = {"attack": "torchattacks:PGD(steps=10)", "delta": 0.3, "scales": [1.0, 100.0]}
    outcome = paper.masking({"cnn": cnn}, SIZE | settings)
    rows = outcome.table.set_index("scale")
    assert rows.loc[1.0, "robust_accuracy"] < 0.1
    assert rows.loc[100.0, "robust_accuracy"] > 0.8
    assert rows.loc[100.0, "transfer_success"] == pytest.approx(rows.loc[1.0, "transfer_success"], abs=0.01)
    assert rows.loc[100.0, "zero_gradients"] >= rows.loc[100.0, "zero_gradients_float64"]


@pytest.mark.slow
def test_valley_and_its_page(paper: Any, cnn: Any, tmp_path: Path) -> None:
    settings = {"attack": "torchattacks:PGD(steps=20, random_start=False)", "delta": 0.3}
    outcome = paper.valley({"cnn": cnn}, SIZE | settings)
    found = holds(outcome)
    assert found["median log κ peak − clean"]
    assert found["median log κ end − peak"]
    assert found["share with the peak at the flip ± 1 step"]
    assert outcome.table["ridge_over_bound_q10"].min() >= 1 - 1e-6  # exact, whatever the net
    paper.run.write_outcome("valley", outcome, SIZE | settings | {"nets": ["cnn"]}, tmp_path, 1.0)
    paper.page.write_results(tmp_path, tmp_path / "RESULTS.md")
    page = (tmp_path / "RESULTS.md").read_text()
    assert "](valley-steps.png)" in page
    assert "| holds |" in page
    assert page.count("Not run.") == len(paper.EXPERIMENTS) - 1
    assert len(pd.read_csv(tmp_path / "valley-effects.csv")) == len(outcome.effects)


@pytest.mark.slow
def test_weak_l2(paper: Any, cnn: Any) -> None:
    settings = {
        "attack": "torchattacks:PGDL2(steps=25, alpha=0.01)", "norm": "L2", "delta": 0.1,
        "scales": [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 50.0],
    }  # fmt: skip
    outcome = paper.weak_l2({"cnn": cnn}, SIZE | settings)
    found = holds(outcome)
    assert found["rank correlation of s ≥ 1 with the median loss increase"]
    assert outcome.table["robust_accuracy"].min() > 0.8


@pytest.mark.slow
def test_basin(paper: Any, cnn: Any) -> None:
    hardened = case(
        paper, "hardened", digits_cnn(), epochs=20, adversary=Adversary(norm="L2", delta=1.0, steps=5)
    )
    settings = {
        "attack": "torchattacks:PGDL2(steps=50, alpha=0.02, random_start=False)", "norm": "L2", "delta": 1.0,
    }  # fmt: skip
    further = {"attack": "torchattacks:PGDL2(steps=100, alpha=0.02, random_start=False)", "delta": 2.0}
    outcome = paper.basin({"cnn": cnn, "hardened": hardened}, SIZE | settings | {"further": further})
    within, beyond = (
        t.groupby("net")["not_flipped"].mean() for t in (outcome.table, outcome.more["further"])
    )
    assert beyond["hardened"] < within["hardened"]
    assert outcome.effects[0].interval[0] > 1.2  # steps to the flip, ratio
    assert holds(outcome)["robust accuracy, difference"]


def test_thresholds_per_group_see_what_one_threshold_does_not(paper: Any) -> None:
    clean = np.random.default_rng(0).normal(0, 0.1, 200)
    group = np.repeat([0, 1], 100)
    pair = np.stack(
        [clean, clean + np.where(group == 0, 1.0, -1.0)]
    )  # sharper in one group, flatter in the other
    by_fold = sys.modules[paper.detection.__module__]._by_fold
    assert by_fold(pair, np.stack([group, group]), 0) == [1.0] * 5
    assert np.mean(by_fold(pair, np.zeros((2, 200), int), 0)) == pytest.approx(0.75, abs=0.02)


@pytest.mark.slow
def test_detection(paper: Any, cnn: Any) -> None:
    """Points just over the boundary lie on the ridge, and a threshold sees them; far ones are like clean ones."""
    tried = [
        {"what": "same"},
        {"what": "unsquared", "definition": "unsquared"},
        {"what": "absent", "net": "none"},
    ]
    settings = {"attack": "torchattacks:PGD(steps=20)", "deltas": [0.1, 0.4], "delta": 0.1, "tried": tried}
    outcome = paper.detection({"cnn": cnn}, SIZE | settings)
    table = outcome.table.set_index("delta")
    assert table.loc[0.1, "stump"] > 0.6
    assert table.loc[0.1, "stump"] > table.loc[0.4, "stump"]
    rows = outcome.more["tried"].set_index("what")
    assert rows.loc["same", "stump"] == pytest.approx(table.loc[0.1, "stump"])
    assert rows.loc["unsquared", "stump"] == pytest.approx(rows.loc["same", "stump"])  # a monotone map of it
    assert "absent" not in rows.index
    assert rows["stump"].between(0, 1).all()
    assert set(outcome.figures) == {"radii", "kappa"}


@pytest.mark.slow
def test_across(paper: Any, cnn: Any) -> None:
    attacks = [
        "torchattacks:PGD(steps=20)",
        "torchattacks:VNIFGSM(steps=20)",
        "art_flat:UniformNoise(steps=10)",
    ]
    table = paper.across({"cnn": cnn}, SIZE | {"attacks": {"0.4 Linf": attacks}}).table.set_index("attack")
    pgd, vni, noise = (table.loc[a] for a in attacks)
    assert pgd["flatter"] > noise["flatter"]
    assert vni["flatter"] > noise["flatter"]
    assert noise["change_of_all"] > 0


@pytest.mark.slow
def test_architectures(paper: Any, cnn: Any) -> None:
    dense = case(paper, "fcn", fcn(64, (64, 32)), epochs=20)
    settings = {"attack": "torchattacks:PGD(steps=20, random_start=False)", "delta": 0.3, "mnist_delta": 0.3}
    outcome = paper.architectures({"cnn": cnn, "fcn": dense}, SIZE | settings)
    found = holds(outcome)
    for net in ("cnn", "fcn"):
        assert found[f"{net}: median log κ peak − clean"]
        assert found[f"{net}: median log κ end − peak"]


@pytest.mark.slow
def test_beyond(paper: Any, cnn: Any) -> None:
    settings = {
        "attack": "torchattacks:PGD(steps=10)", "delta": 0.3, "small_deltas": [0.001, 0.1, 0.3],
        "scales": [1.0, 100.0],
    }  # fmt: skip
    outcome = paper.beyond({"cnn": cnn}, SIZE | settings)
    found = holds(outcome)
    assert found["bracket: certified minus empirical share, largest"]
    assert found["records above the repaired bound"]
    assert outcome.table["paper_bound_exceeded"].max() > 0  # it is no bound
    kinds = outcome.more["definitions"].set_index("definition")
    assert kinds.loc["unsquared", "rank_correlation_with_paper"] == pytest.approx(1.0)
    assert kinds.loc["unsquared", "change"] == pytest.approx(kinds.loc["paper", "change"])
    means = outcome.more["means"].set_index("scale")
    assert means.loc[100.0, "median"] < means.loc[1.0, "median"]
    assert (outcome.more["float"]["zero_gradients"] >= outcome.more["float"]["zero_gradients_float64"]).all()
