"""The code of the documentation runs."""

import contextlib
import importlib
import io
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


PARTS = ("scores", "evaluation", "attacks", "certification", "reporting", "analysis", "metrics")
"""Packages whose docstrings continue the README's Python, in this order."""


@pytest.mark.slow
def test_python_of_the_readme_runs(tmp_path, monkeypatch):
    pytest.importorskip("torchattacks")
    monkeypatch.chdir(tmp_path)
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in blocks(README, "python"):
            exec(compile(block, "README.md", "exec"), names)
    assert names["kappa"].shape == (100,)
    assert names["adv"].success.mean() > 0.3
    assert not names["results"].summary().empty
    shown, now = (read_table(text) for text in (blocks(README, "text")[0], printed.getvalue()))
    assert [row[:-2] for row in shown] == [row[:-2] for row in now]
    for before, after in zip(shown[1:], now[1:], strict=True):  # another processor trains another net
        assert [float(v) for v in before[-2:]] == pytest.approx(
            [float(v) for v in after[-2:]], abs=0.15, nan_ok=True
        )
    for part in PARTS:
        text = importlib.import_module(f"art_flat.{part}").__doc__
        for block in blocks(text, "python"):
            exec(compile(block, part, "exec"), names)


def read_table(text):
    return [line.strip().rsplit(maxsplit=3) for line in text.strip().splitlines()]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_configuration_of_the_readme_is_valid():
    from art_flat.cli.config import parse_config

    run = next(toml for toml in blocks(README, "toml") if "attacks =" in toml)
    config = parse_config(tomllib.loads(run))
    assert config.deltas["Linf"] == [2 / 255, 8 / 255]


def test_quick_start_is_two_lines():
    quick_start = README.split("## Quick start", 1)[1]
    assert blocks(quick_start, "bash")[0].splitlines() == [
        'pip install -e ".[torchattacks]" && art-flat demo',
        'pip install -e ".[torchattacks,test]" && pytest',
    ]


def test_commands_of_the_readme_exist():
    from typer.testing import CliRunner

    from art_flat.cli.app import app

    for command in set(re.findall(r"art-flat (\w+)", README)):
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command


def test_plugin_of_the_plugin_readme_keeps_the_contract(digits):
    text = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
    code, contract, *_ = blocks(text, "python")
    names = {}
    exec(compile(code, "my_attacks.py", "exec"), names)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    (info,) = names["attacks"]()
    net, x, y = digits
    adv = info.build()(net, x, y, delta=1.0)
    assert adv.within_budget.all()
    assert adv.distance.max() > 0.5
    assert "AttackContract" in contract
