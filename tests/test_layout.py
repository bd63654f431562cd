"""Imports point one way, importing costs nothing, and public names are what they claim to be."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import layout
import pytest

PUBLIC = [
    "art_flat",
    *(
        f"art_flat.{m}"
        for m in (
            "adapters",
            "analysis",
            "attacks",
            "datasets",
            "detection",
            "evaluation",
            "functional",
            "metrics",
            "models",
            "reporting",
            "scores",
            "training",
        )
    ),
]


def test_every_part_has_a_layer():
    assert set(layout.part_graph()) <= set(layout.LEVEL)
    assert len(layout.LAYERS) <= 10


def test_imports_point_to_earlier_layers():
    wrong = [
        f"{part} imports {other}"
        for part, others in layout.part_graph().items()
        for other in others
        if layout.LEVEL[other] >= layout.LEVEL[part]
    ]
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    assert layout.circle(layout.module_graph()) == []


def test_no_private_module_at_the_root():
    private = {p.stem for p in layout.PACKAGE.iterdir() if p.stem.startswith("_") and p.stem[1] != "_"}
    assert private <= {"_version", "_utils"}


def test_nothing_in_art_flat_imports_a_plugin():
    names = {n for path in layout.source_files().values() for n in layout.imported_names(path)}
    assert not [name for name in names if name.startswith("art_flat_")]


def test_plugins_import_public_names_only():
    for path in (layout.ROOT / "plugins").rglob("*.py"):
        for name in layout.imported_names(path, layout.ROOT / "plugins" / path.parts[-2]):
            if name.split(".")[0] == "art_flat":
                assert not any(p.startswith("_") and p != "__version__" for p in name.split(".")), (
                    f"{path}: {name}"
                )


def test_layers_see_violations(tmp_path):
    package = tmp_path / "art_flat"
    (package / "functional").mkdir(parents=True)
    for name in ("__init__.py", "functional/__init__.py", "attacks.py"):
        (package / name).touch()
    bad = "def f():\n    from ..attacks import Attack\n    import art_flat_art\n"
    (package / "functional" / "bad.py").write_text(bad)
    (package / "attacks.py").write_text("from .functional import bad\n")
    assert layout.part_graph(package) == {"functional": {"attacks"}, "attacks": {"functional"}}
    assert "art_flat_art" in layout.imported_names(package / "functional" / "bad.py", package)
    assert set(layout.circle(layout.module_graph(package))) == {"art_flat.attacks", "art_flat.functional.bad"}


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_what_is_imported(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public) is not None
    if name != "art_flat":
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        imported = {a.asname for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names if a.asname}
        assert imported <= set(module.__all__)


def test_unknown_public_name_is_an_attribute_error():
    import art_flat

    with pytest.raises(AttributeError, match="no attribute 'adabt'"):
        art_flat.adabt  # noqa: B018


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_import_loads_nothing_heavy():
    code = "import sys, art_flat; print([m for m in ('torch', 'art', 'pandas', 'numpy') if m in sys.modules])"
    assert run_python(code) == "[]"


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom art_flat.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('torch', 'art', 'pandas', 'numpy') if m in sys.modules])"
    )
    assert run_python(code) == "[]"


@pytest.mark.slow
def test_figures_are_imported_when_they_are_drawn():
    code = (
        "import sys, art_flat.evaluation, art_flat.analysis\n"
        "heavy = ('matplotlib.figure', 'plotly', 'jinja2.loaders')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_version_is_in_one_place():
    from importlib.metadata import version

    import art_flat

    assert version("art-flat") == art_flat.__version__


def test_names_of_test_files_are_unique():
    """pytest imports them without packages, so that two of one name cannot both be collected."""
    names = [path.name for path in (layout.ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
