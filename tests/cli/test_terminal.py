"""Terminals and pipes that are not UTF-8: text degrades, nothing is lost, and files are UTF-8 always."""

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import art_flat
from art_flat.attacks import load_attacks
from art_flat.cli import terminal
from art_flat.cli.config import read_config

CONFIG = """
deltas = { Linf = [0.1] }
attacks = ["art_flat:UniformNoise"]
[models."naïve-κ"]
factory = "art_flat.models:digits_cnn"
[data]
name = "digits"
n = 4
"""
ENCODINGS = ["cp1252", "latin-1", "ascii"]


def command(encoding, *arguments, cwd):
    """Run a command where neither the pipe nor the system's default encoding is UTF-8."""
    plain = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    return subprocess.run(
        [sys.executable, "-m", "art_flat", *arguments], cwd=cwd, env={**os.environ, **plain}, capture_output=True,
        timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_and_its_report_on_pipes_that_are_not_utf8(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8-sig")
    done = command("ascii", "run", "config.toml", "--out", "out", cwd=tmp_path)
    assert not done.returncode, done.stderr
    assert "naive-kappa" in done.stdout.decode("ascii")
    assert "naïve-κ" in (tmp_path / "out" / "config.toml").read_text(encoding="utf-8")
    assert "naïve-κ" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_report_in_a_folder(tmp_path, linear):
    run = {"deltas": {"Linf": [0.1]}, "attacks": ["art_flat:UniformNoise"]}
    results = art_flat.evaluate(linear(np.eye(2)), np.full((2, 2), 0.5), [0, 1], **run)
    assert results.report(tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("encoding", [*ENCODINGS, "cp437", "gbk", "utf-8"])
def test_text_is_spelled_out(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    terminal.use_safe_streams()
    sys.stdout.write("δ ≤ 8/255, κ × 2 – naïve … 猫 \udcff")
    sys.stdout.flush()
    text = raw.getvalue().decode(encoding)
    assert text.startswith(("delta", "δ"))
    assert "8/255" in text
    if encoding == "ascii":
        assert text == "delta <= 8/255, kappa x 2 - naive ... ? ?"


def test_a_configuration_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, encoding="utf-8-sig")
    assert list(read_config(path)[0].models) == ["naïve-κ"]


def test_a_suite_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "suite.toml"
    path.write_text('attacks = ["art_flat:PGD"]\n', encoding="utf-8-sig")
    assert [a.name for a in load_attacks(str(path))] == ["art_flat:PGD"]


def text_calls():
    """Every call in the package that opens a text file, and the encoding it names."""
    for file in sorted(Path(art_flat.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            named = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            mode = next((a.value for a in node.args if isinstance(a, ast.Constant)), "r")
            of_images = getattr(getattr(node.func, "value", None), "id", "") == "Image"
            is_open = name == "open" and isinstance(node.func, ast.Name) | (mode in {"r", "w", "x", "a"})
            if name in {"read_text", "write_text"} or (is_open and not of_images and "b" not in str(mode)):
                yield f"{file.name}:{node.lineno}", named.get("encoding", "none")


def test_files_are_utf8_whatever_the_system_says():
    calls = dict(text_calls())
    assert len(calls) > 8
    assert {place: said for place, said in calls.items() if said not in {"utf-8", "utf-8-sig"}} == {}
