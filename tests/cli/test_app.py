"""The command line: in real processes where it matters, else with the runner in this process."""

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from sampling import slow

import art_flat as af

CONFIG = """
seed = 3
deltas = { Linf = ["0.05", 0.15], L2 = [0.5] }
epsilons = [0.1]
attacks = ["art_flat:PGD(steps=4)", "art:FastGradientMethod"]

[models.small]
factory = "mynet:make"

[data]
name = "npz"
path = "data.npz"
n = 20
"""
MODULE = """
import torch
from art.estimators.classification import PyTorchClassifier

def make():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    return PyTorchClassifier(net, torch.nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0.0, 1.0), device_type="cpu")
"""


def art_flat(*args, cwd):
    return subprocess.run(
        [sys.executable, "-m", "art_flat", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class Said(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(monkeypatch, capsys):
    """The command line in this process, which starts in a tenth of the time."""
    from art_flat.cli import app as cli

    def run(*args, cwd):
        monkeypatch.setattr(sys, "argv", ["art-flat", *map(str, args)])
        monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return Said(stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def project(tmp_path):
    data = af.load_dataset("digits", n=30)
    np.savez(tmp_path / "data.npz", x=data.x, y=data.y)
    (tmp_path / "mynet.py").write_text(MODULE)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize("own_process", [False, slow(True)])
def test_run_summary_and_resume(own_process, project, here):
    done = (art_flat if own_process else here)("run", "config.toml", "--out", "results", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "small, L∞: 20 samples" in done.stdout
    assert "κ" in done.stdout
    assert "worst of all" in done.stdout
    assert "12/12" not in done.stdout
    results = af.Results.load(project / "results")
    assert len(results.adversarial) == 20 * 2 * 3
    stamps = {p: p.stat().st_mtime_ns for p in (project / "results" / "adversarial").iterdir()}
    assert here("run", "config.toml", "--out", "results", cwd=project).returncode == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in (project / "results" / "adversarial").iterdir()}
    csv = here("summary", "results", "--epsilon", "0.7", "--csv", cwd=project)
    (project / "again.csv").write_text(csv.stdout)
    assert "loss_change_robustness@0.7" in pd.read_csv(project / "again.csv").columns


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seed = 3", "sed = 3"), "sed: unknown key; did you mean 'seed'?"),
        (('name = "npz"', 'name = "nzp"'), "data.name"),
        (('"mynet:make"', '"mynet:mak"'), "make"),
        (('"mynet:make"', '"nonet:make"'), "nonet"),
        (('path = "data.npz"', 'path = "date.npz"'), "date.npz"),
        (("[0.5]", "[-0.5]"), "must be greater than 0"),
        (("deltas", "delta"), "deltas: missing"),
        (("art_flat:PGD", "art_flat:PDG"), "did you mean 'art_flat:PGD'"),
        (("[data]", "[data"), "not valid TOML"),
    ],
)
def test_bad_configurations_are_one_message(project, change, words, here):
    (project / "config.toml").write_text(CONFIG.replace(*change))
    code, _, err = here("run", "config.toml", "--out", "out", cwd=project)
    assert code == 2
    assert err.startswith("error: ")
    assert words in err
    assert "Traceback" not in err
    assert not (project / "out").exists()


@pytest.mark.parametrize("own_process", [False, slow(True)])
def test_missing_file_and_unknown_command(own_process, tmp_path, here):
    run = art_flat if own_process else here
    missing = run("run", "nowhere.toml", "--out", "x", cwd=tmp_path)
    assert (missing.returncode, missing.stderr) == (
        2,
        "error: cannot read the configuration nowhere.toml: No such file or directory\n",
    )
    unknown = run("demmo", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "No such command 'demmo'" in unknown.stderr
    assert "Usage" in run("--help", cwd=tmp_path).stdout


def test_attacks_lists_every_attack(tmp_path, here):
    listed = here("attacks", cwd=tmp_path)
    assert listed.returncode == 0
    for name in af.list_attacks():
        assert name in listed.stdout
    one = here("attacks", "art_flat:APGD", cwd=tmp_path)
    assert "steps=100" in one.stdout
    assert "did you mean" in here("attacks", "art_flat:AGPD", cwd=tmp_path).stderr


@pytest.mark.slow
def test_ctrl_c_leaves_a_folder_that_can_be_resumed(project, monkeypatch, here):
    from art_flat.attacks.lossmax import PGD

    with monkeypatch.context() as patch:
        patch.setattr(PGD, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, err = here("run", "config.toml", "--out", "out", cwd=project)
    assert code == 130
    assert "continues from there" in err
    assert here("run", "config.toml", "--out", "out", cwd=project).returncode == 0


@pytest.mark.slow
def test_demo_needs_no_network_and_writes_its_folder(tmp_path):
    """The whole demo is timed in CI; here a tenth of it, through the same code."""
    from art_flat.cli import demo
    from art_flat.cli.run import run_config

    said = []
    config, folder = demo.demo_config(tmp_path / "demo", said.append)
    attacks = ["art_flat:PGD(steps=10)", demo.PLAIN]
    small = config.model_copy(
        update={
            "attacks": attacks,
            "data": config.data.model_copy(update={"n": 30}),
            "deltas": {"Linf": [0.02, demo.DELTAS[-1]]},
        }
    )
    results = run_config(small, folder, tmp_path / "demo")
    assert "trained a small CNN" in said[0]
    assert (tmp_path / "demo" / "summary.csv").exists()
    summary = results.summary()
    worst = summary[summary["attack"] == af.evaluation.ALL_ATTACKS].set_index(["model", "delta"])
    ends = worst.loc[demo.MODEL]  # both ends of the bracket are informative, and they leave a gap
    assert (ends["certified_accuracy"] > 0.1).all()
    assert ends["robust_accuracy"].iloc[-1] < ends["accuracy"].iloc[-1] - 0.05
    assert (ends["certified_accuracy"] <= ends["robust_accuracy"]).all()
    assert (ends["certified@0.1"] > 0).all()
    twin = worst.loc[demo.TWIN]  # the same predictions, so the same truth between the ends
    assert (twin["accuracy"] == ends["accuracy"]).all()
    assert (twin["robust_accuracy"] >= ends["certified_accuracy"]).all()
    by_attack = summary.set_index(["model", "attack", "delta"])["robust_accuracy"]
    assert (
        by_attack[demo.TWIN, demo.PLAIN, demo.DELTAS[-1]] > by_attack[demo.MODEL, demo.PLAIN, demo.DELTAS[-1]]
    )
    found = {finding.id: finding.what for finding in results.findings()}
    assert found["zero-gradients"].startswith(demo.TWIN)
    first, last = demo.closing_lines(results)
    assert demo.PLAIN in first
    assert "art-flat init --model" in last
