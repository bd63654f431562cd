"""Attacks by import string: what a configuration names is what Python would import from its folder."""

import sys
from pathlib import Path

import pytest

from art_flat.adapters.recipe import dumps, loads
from art_flat.attacks.imported import with_imported
from art_flat.errors import ConfigError

MODULE = """
import torch
from art_flat.attacks import as_attack

def up(module, x, y):
    return (x + 0.25).clamp(max=1)

def make(step=0.5):
    return as_attack(lambda module, x, y: (x + step).clamp(max=1), name="made", norms=["Linf"])

number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_imported_attacks.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_imported_attacks", None)


@pytest.mark.parametrize(
    ("call", "name", "step"),
    [("up", "own:up", 0.25), ("make()", "own:made", 0.5), ("make(step=1/8)", "own:made", 0.125)],
)
def test_a_function_of_a_module_beside_the_file_attacks(folder, digits, call, name, step):
    net, x, y = digits
    before = list(sys.path)
    _, attack = with_imported(["art_flat:PGD", f"my_imported_attacks:{call}"], folder)
    assert attack.info.name == name
    assert sys.path == before
    assert abs(attack(net, x[:2], y[:2], norm="Linf").x - (x[:2] + step).clip(max=1)).max() < 1e-6


def test_a_worker_without_the_folder_gets_the_code(folder, digits):
    (attack,) = with_imported("my_imported_attacks:up", folder)
    pickled = dumps(attack)
    del sys.modules["my_imported_attacks"]
    assert loads(pickled).hash == attack.hash


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("my_imported_attacks:upp", "did you mean 'up'"),
        ("my_imported_attacks:number", "cannot attack with 3"),
        ("my_imported_attacks:make(stepp=1)", "unexpected keyword"),
        ("torchattack:PGD", "Libraries of attacks are advlib, art, art_flat, foolbox, torchattacks"),
    ],
)
def test_errors_say_what_to_change(folder, spec, words):
    with pytest.raises(ConfigError, match="attack") as error:
        with_imported(spec, folder)
    assert words in str(error.value)


def test_names_of_libraries_and_suites_are_left_alone():
    specs = ["fast", "art_flat:PGD(steps=2) @mine.1", "torchattacks:*", "C:own/suite.toml"]
    assert with_imported(specs, Path()) == specs
