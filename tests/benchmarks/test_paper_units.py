"""Units, intervals and pairs of the paper's experiments: arithmetic against SciPy, and what is measured again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paper_cases import FOLDER, paper_fixture  # noqa: F401
from scipy.special import softmax
from scipy.stats import bootstrap, norm

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmarks are not here")


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
