"""`art-flat run --part`, `merge` and `plan` on the command line, and interruptions."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import art_flat as af
from art_flat.cli.app import app

CONFIG = """
deltas = { Linf = [0.1, 0.2] }
attacks = ["art_flat:PGD(steps=STEPS)", "art_flat:GaussianNoise"]
shard_size = 5
certify = "lipschitz"
[models.small]
factory = "mynet_of_runs:make"
[data]
name = "npz"
path = "data.npz"
n = 20
"""
MODULE = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    data = af.load_dataset("digits", n=30)
    np.savez(tmp_path / "data.npz", x=data.x, y=data.y)
    (tmp_path / "mynet_of_runs.py").write_text(MODULE)
    (tmp_path / "config.toml").write_text(CONFIG.replace("STEPS", "3"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*args):
    return CliRunner().invoke(app, [*map(str, args)])


@pytest.mark.slow
def test_parts_are_merged(project):
    for i in (1, 2):
        done = invoke("run", "config.toml", "--out", f"p{i}", "--part", f"{i}/2")
        assert done.exit_code == 0, done.output
        assert "of 16 units; the command" in done.output
        assert "small, L∞" not in done.output
    merged = invoke("merge", "p1", "p2", "--out", "whole")
    assert merged.exit_code == 0, merged.output
    assert "whole: 16 units added" in merged.output
    assert "small, L∞" in merged.output
    assert "whole: 0 units added" in invoke("merge", "p1", "p2", "--out", "whole").output
    assert invoke("run", "config.toml", "--out", "run").exit_code == 0
    one, other = (af.Results.load(f).adversarial.drop(columns="seconds") for f in ("run", "whole"))
    assert one.equals(other)


def test_a_run_is_planned(project):
    made = invoke("plan", "config.toml", "--workers", "1", "--workers", "8", "--probe-seconds", "0.02")
    assert made.exit_code == 0, made.output
    assert "16 units" in made.output
    assert "on 8" in made.output


def test_bad_arguments(project):
    for args, words in (
        (("run", "config.toml", "--out", "x", "--part", "5/2"), "third of 16"),
        (("run", "config.toml", "--out", "x", "--n-jobs", "0"), "n_jobs"),
        (("merge", "nowhere"), "holds no art_flat results"),
        (("plan", "config.toml", "--probe-seconds", "-1"), "probe_seconds"),
    ):
        done = invoke(*args)
        assert done.exit_code != 0
        assert words in str(done.exception), done.output
        assert not (project / "x").exists()


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interruption_is_one_line_and_can_be_resumed(project, n_jobs):
    (project / "config.toml").write_text(CONFIG.replace("STEPS", "3000"))
    command = [
        sys.executable,
        "-m",
        "art_flat",
        "run",
        "config.toml",
        "--out",
        "run",
        "--n-jobs",
        str(n_jobs),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        for _ in range(1800):
            if len(list((project / "run" / "adversarial").glob("*.parquet"))) >= 2 or run.poll() is not None:
                break
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGINT)
        _, err = run.communicate(timeout=120)
    assert run.returncode == 130, err
    assert err == "interrupted; finished units are kept, and the same command continues from there\n"
    there = af.Results.load(project / "run")
    assert there.missing_units > 0
    assert not list((project / "run").glob(".work*"))
    assert "missing: " in invoke("summary", "run").output
    done = invoke("run", "config.toml", "--out", "run")
    assert done.exit_code == 0, done.output
    assert af.Results.load(project / "run").missing_units == 0
