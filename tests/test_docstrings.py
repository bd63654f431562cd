"""Public names are documented: arguments, results, errors, and an example that `--doctest-modules` runs."""

import importlib
import inspect
from pathlib import Path

import pytest

import art_flat

ROOT = Path(art_flat.__file__).parent
PACKAGES = ["art_flat", *(f"art_flat.{p.parent.name}" for p in sorted(ROOT.glob("[a-z]*/__init__.py")))]

MADE_BY_FUNCTIONS = {
    "Adapter", "Attack", "AttackInfo", "AttackResult", "BallBounds", "Dataset", "Finding", "FlatnessDecomposition",
    "Graph", "Head", "LipschitzBound", "LipschitzCost", "MatchedFlatness", "Merged", "ModelRecords", "Outputs",
    "Passes", "Plan", "Problem", "Progress", "RadialProfile", "Records", "Results", "RobustnessBracket", "ScaleSweep",
    "ScaledHead", "Selection", "Trajectories",
}  # fmt: skip
"""Classes without an example of their own: users get their objects from functions that have one."""
PYTEST_CLASSES = {"AttackContract"}
"""Classes that pytest collects; the module's text shows how to subclass them."""


def public_objects():
    """Name → function or class, of every `__all__`; a name that two packages share is listed once for each object."""
    found = {}
    for package in map(importlib.import_module, PACKAGES):
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                found.setdefault(id(value), (f"{package.__name__}.{name}", value))
    return dict(found.values())


PUBLIC = public_objects()
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}


def takes_arguments(function):
    return bool(inspect.signature(function).parameters)


def test_there_are_names_to_look_at():
    assert len(FUNCTIONS) > 70
    assert len(PUBLIC) > 100


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_document_arguments_and_result(name):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function)
    if takes_arguments(function):
        assert "Args:" in text
        section = text.partition("Args:")[2]
        missing = [p for p in inspect.signature(function).parameters if f"{p}:" not in section]
        assert not missing, f"{name}: {missing}"
    if inspect.signature(function).return_annotation not in ("None", None):
        assert "Returns:" in text


@pytest.mark.parametrize("name", PUBLIC)
def test_names_have_an_example(name):
    value, short = PUBLIC[name], name.rpartition(".")[2]
    if short in MADE_BY_FUNCTIONS | PYTEST_CLASSES or (
        inspect.isclass(value) and issubclass(value, Exception)
    ):
        return
    assert ">>>" in inspect.getdoc(value)


def test_the_list_of_exceptions_holds_no_name_that_needs_none():
    shown = {
        name.rpartition(".")[2] for name, value in PUBLIC.items() if ">>>" in (inspect.getdoc(value) or "")
    }
    assert not shown & MADE_BY_FUNCTIONS
    assert {name.rpartition(".")[2] for name in PUBLIC} >= MADE_BY_FUNCTIONS | PYTEST_CLASSES


@pytest.mark.parametrize("method", ["logits", "features", "predict"])
def test_methods_of_adapters_name_their_errors(method):
    assert "InputError" in inspect.getdoc(getattr(art_flat.Adapter, method))
