"""The package of plugins/README.md, word for word: built, installed, found by the registry, and run."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "plugins" / "README.md"
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "my-attacks"
version = "0.1"
"""
USE = """
import art_flat as af
from art_flat.testing import small_problem

def test_the_registry_finds_it_and_runs_it():
    net, x, y = small_problem()
    assert af.list_attacks()["mine:Gaussian"].norms == ("L2",)
    adv = af.load_attack("mine:Gaussian")(net, x, y, delta=0.5)
    assert adv.norm == "L2" and adv.within_budget.all() and (adv.distance > 0.1).all()
    assert (adv.x == af.load_attack("Gaussian")(net, x, y, delta=0.5).x).all()
    assert "mine:Gaussian" in [a.name for a in af.attacks.load_suite("all")]
"""


def block(language, first):
    """The first code block of the README in a language with a certain text."""
    found = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return next(text for text in found if first in text)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder into which pip installed the README's package."""
    present = {distribution.name for distribution in importlib.metadata.distributions()}
    for tool in (
        "pip",
        "setuptools",
    ):  # not searched as modules: setuptools warns where distutils was imported
        if tool not in present:
            pytest.skip(f"{tool} is not installed here")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "my_attacks.py").write_text(block("python", "# my_attacks.py"), encoding="utf-8")
    (source / "pyproject.toml").write_text(PROJECT + block("toml", "# pyproject.toml"), encoding="utf-8")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    run([*pip, "--disable-pip-version-check", "--target", str(target), str(source)])
    return target


def run(command, cwd=None, **environment):
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_registry_finds_it_and_it_keeps_the_contract(installed, tmp_path):
    contract = block("python", "AttackContract")
    (tmp_path / "test_mine.py").write_text(contract + USE, encoding="utf-8")
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    out = run(pytest_, cwd=tmp_path, PYTHONPATH=str(installed))
    assert re.search(r"\b[7-9] passed", out)


def test_the_attack_is_twenty_lines_at_most():
    lines = (block("python", "# my_attacks.py") + block("toml", "# pyproject.toml")).splitlines()
    assert len([line for line in lines if line.strip()]) <= 20
