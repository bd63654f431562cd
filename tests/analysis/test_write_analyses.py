"""`[analyses]` of a configuration: the tables of a run, and those that are not computed twice."""

import json

import numpy as np
import pandas as pd
import pytest

import art_flat as af
from art_flat.analysis import ScaledHead
from art_flat.analysis._write_analyses import Analyses, write_analyses
from art_flat.cli.config import parse_config
from art_flat.cli.run import run_config
from art_flat.errors import AttackNotUsableError, ConfigError

CONFIG = {
    "seed": 3,
    "deltas": {"Linf": [0.05, 0.15], "L2": [0.5]},
    "epsilons": [0.1],
    "attacks": ["art_flat:PGD(steps=2)"],
    "models": {"small": {"factory": "tablenet:make"}},
    "data": {"name": "digits", "n": 12},
    "analyses": {
        "trajectories": ["art_flat:PGD(steps=3)"],
        "scale_sweep": ["art_flat:PGD(steps=2)"],
        "radial_profile": True,
        "n": 6,
    },
}


MODULE = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "results"
    (out.parent / "tablenet.py").write_text(MODULE)
    messages = []
    results = run_config(parse_config(CONFIG), out.parent, out, notify=messages.append)
    return out, results, messages


@pytest.mark.slow
def test_tables_are_those_of_the_functions(folder):
    out, results, messages = folder
    names = {p.name for p in (out / "analyses").iterdir()}
    assert names == {
        "analyses.json", "findings.csv", "radial_profile.csv", "radial_profile.parquet", "scale_sweep.csv",
        "scale_sweep.parquet", "trajectories.csv", "trajectories.parquet", "valley.parquet",
    }  # fmt: skip
    steps = pd.read_parquet(out / "analyses" / "trajectories.parquet")
    assert set(zip(steps["norm"], steps["delta"], strict=True)) == {
        ("Linf", 0.05),
        ("Linf", 0.15),
        ("L2", 0.5),
    }
    assert set(steps["sample"]) == set(results.clean["sample"][:6])
    assert steps["kappa"].notna().all()
    assert len(steps) == 3 * 6 * (2 + 4)  # clean, random start, three updates, the result
    valley = pd.read_parquet(out / "analyses" / "valley.parquet")
    assert len(valley) == 18
    summary = pd.read_csv(out / "analyses" / "trajectories.csv")
    assert {"model", "attack", "norm", "delta", "success", "measure", "q50"} <= set(summary.columns)
    sweep = pd.read_csv(out / "analyses" / "scale_sweep.csv")
    assert len(sweep) == 3 * 8
    assert (pd.read_csv(out / "analyses" / "radial_profile.csv")["sample"].nunique()) == 6
    assert any("scale sweep: small" in line for line in messages)


@pytest.mark.slow
def test_what_is_there_is_not_made_again(folder):
    out, results, _ = folder
    before = {p.name: p.stat().st_mtime_ns for p in (out / "analyses").iterdir()}
    messages = []
    again = run_config(parse_config(CONFIG), out.parent, out, notify=messages.append)
    after = {p.name: p.stat().st_mtime_ns for p in (out / "analyses").iterdir()}
    assert {n for n in after if after[n] != before[n]} == {"findings.csv"}
    assert not any("trajectories:" in line for line in messages)
    pd.testing.assert_frame_equal(again.records(), results.records())
    other = {**CONFIG, "analyses": {"trajectories": ["art_flat:PGD(steps=2)"], "n": 6}}
    run_config(parse_config(other), out.parent, out)  # other analyses of the same run: same folder
    steps = pd.read_parquet(out / "analyses" / "trajectories.parquet")
    assert set(steps["attack"]) == {"art_flat:PGD(steps=2)"}
    assert "trajectories" in json.loads((out / "analyses" / "analyses.json").read_text())


def test_without_the_section_nothing_is_written(tmp_path):
    (tmp_path / "tablenet.py").write_text(MODULE)
    plain = {k: v for k, v in CONFIG.items() if k != "analyses"}
    run_config(parse_config(plain), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out" / "analyses").exists()


def test_words_of_errors(digits, tmp_path):
    with pytest.raises(ConfigError, match=r"analyses\.trajectory: unknown key; did you mean 'trajectories'"):
        parse_config({**CONFIG, "analyses": {"trajectory": []}})
    net, x, y = digits
    run = af.evaluate(
        {"cnn": net}, x, y, attacks=["art_flat:PGD(steps=1)"], deltas={"L2": [0.1]}, certify=None
    )
    with pytest.raises(AttackNotUsableError, match="supports Linf, but the run has radii in L2"):
        write_analyses(run, {"cnn": net}, x, y, tmp_path, Analyses(trajectories=[_linf()]))


def test_a_suite_contributes_the_attacks_of_the_norms(digits, tmp_path):
    net, x, y = digits
    run = af.evaluate(
        {"cnn": net}, x[:6], y[:6], attacks=["art_flat:PGD(steps=1)"], deltas={"L2": [0.1]}, certify=None
    )
    suite = tmp_path / "mine.toml"
    suite.write_text(f'attacks = ["art_flat:PGD(steps=2)", "{_linf()}"]', encoding="utf-8")
    write_analyses(run, {"cnn": net}, x[:6], y[:6], tmp_path, Analyses(trajectories=[str(suite)]))
    assert set(pd.read_csv(tmp_path / "trajectories.csv")["attack"]) == {"art_flat:PGD(steps=2)"}
    suite.write_text(f'attacks = ["{_linf()}"]', encoding="utf-8")
    with pytest.raises(AttackNotUsableError, match="supports Linf, but the run has radii in L2"):
        write_analyses(run, {"cnn": net}, x[:6], y[:6], tmp_path, Analyses(trajectories=[str(suite)]))


def _linf():
    return next(n for n, i in af.list_attacks().items() if i.norms == ("Linf",) and i.usability == "usable")


def test_findings_have_the_ids_of_the_run(digits, tmp_path):
    net, x, y = digits
    loud = ScaledHead(net, 100)
    run = af.evaluate(
        {"cnn": loud},
        x,
        y,
        attacks=["art_flat:PGD(steps=1)"],
        deltas={"Linf": [0.1]},
        samples=np.arange(50, 74),
        certify=None,
    )
    write_analyses(run, {"cnn": loud}, x[:10], y[:10], tmp_path, samples=np.arange(50, 60))
    found = pd.read_csv(tmp_path / "findings.csv").set_index("id")
    assert set(json.loads(found.loc["zero-gradients", "samples"])) <= set(range(50, 60))
    assert found.loc["zero-gradients", "severity"] == "error"
