"""Public names are documented: arguments, results, errors, and an example that `--doctest-modules` runs."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import art_flat

ROOT = Path(art_flat.__file__).parent
PACKAGES = ["art_flat", *(f"art_flat.{p.parent.name}" for p in sorted(ROOT.glob("[a-z]*/__init__.py")))]

MADE_BY_FUNCTIONS = {
    "Adapter", "Attack", "AttackInfo", "AttackResult", "BallBounds", "Dataset", "DetectionRates", "Finding",
    "FlatnessDecomposition", "Graph", "Head", "LipschitzBound", "LipschitzCost", "MatchedFlatness", "Merged",
    "ModelRecords", "Outputs", "Passes", "Plan", "Problem", "Progress", "RadialProfile", "Records", "Results",
    "RobustnessBracket", "ScaleSweep", "ScaledHead", "Selection", "Trajectories",
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
ARRAYS = ("Array", "Array | None", "Tensor", "torch.Tensor", "np.ndarray")
"""Annotations of arrays, whose shape the text states."""
UNITS = {
    "delta": "clip|unit", "deltas": "clip|unit", "radii": "clip|unit",
    "epsilon": "nats", "epsilons": "nats", "seconds": "[Tt]ime|second",
}  # fmt: skip
"""Arguments with a unit → what the text states of it."""


def public_methods():
    """Name → public method of a public class."""
    return {
        f"{name}.{key}": method
        for name, value in PUBLIC.items()
        if inspect.isclass(value)
        for key, method in vars(value).items()
        if inspect.isfunction(method) and not key.startswith("_")
    }


def section(text, title):
    """A section of a docstring, up to the next one or the example."""
    return re.split(r"\n\w+:\n|\n\n", text.partition(f"{title}:\n")[2])[0]


def arguments(text):
    """Argument → its text."""
    entries = re.findall(r"^    \*{0,2}(\w+): (.*(?:\n     .*)*)", section(text, "Args"), re.M)
    return dict(entries)


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


def test_arrays_state_their_shape_and_numbers_their_unit():
    silent = []
    for name, function in {**FUNCTIONS, **public_methods()}.items():
        text, signature = inspect.getdoc(function) or "", inspect.signature(function)
        for key, described in arguments(text).items():
            annotation = str(signature.parameters[key].annotation)
            if annotation in ARRAYS and not re.search(r"\(|shape", described):
                silent.append(f"{name}: the shape of {key}")
            if key in UNITS and not re.search(UNITS[key], described):
                silent.append(f"{name}: the unit of {key}")
        result = section(text, "Returns") or text
        if str(signature.return_annotation) in ARRAYS and not re.search(r"\(|shape", result):
            silent.append(f"{name}: the shape of the result")
    assert not silent, "\n".join(silent)


def test_sections_are_read():
    text = "f.\n\nArgs:\n    x: Samples,\n        shape (n, ...).\n    **rest: More.\n\nReturns:\n    Shape (n,).\n"
    assert arguments(text) == {"x": "Samples,\n        shape (n, ...).", "rest": "More."}
    assert section(text, "Returns").strip() == "Shape (n,)."


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
