"""Imports point one way, importing costs nothing, and public names are what they claim to be."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = [
    {"_types", "_errors", "_interrupt", "_replace"},
    {"_arrays", "_random"},
    {"_checks"},
    {"functional"},
    {"scores", "certification"},
    {"datasets", "models", "regularization"},
    {"training"},
    {"adapters"},
    {"attacks"},
    {"evaluation"},
    {"metrics", "analysis", "detection", "scorers", "torchmetrics"},
    {"_wording"},
    {"reporting"},
    {"config", "_progress"},
    {"_train", "_train_progress"},
    {"_tables", "_demo"},
    {"cli"},
    {"__main__"},
]
# `Results.report`, `Results.to_markdown` and the `plot` of an analysis open the door to the layer that draws them,
# from inside the method, so that nothing of it is loaded before
DOORS = {("evaluation", "reporting"), ("analysis", "reporting")}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
PUBLIC = [
    "art_flat",
    *(
        f"art_flat.{m}"
        for m in (
            "adapters",
            "analysis",
            "attacks",
            "certification",
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


def imported_parts(path: Path, root: Path = ROOT / "art_flat") -> set[str]:
    """Top-level parts of art_flat, and plugins, that a file imports anywhere, also inside functions."""
    inside = path.relative_to(root.parent).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            names = [tuple(a.name.split(".")) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level] if node.level else ()
            stem = (*base, *(node.module.split(".") if node.module else ()))
            names = [(*stem, a.name) for a in node.names]
        for name in names:
            if name[0] == "art_flat" and len(name) > 1:
                found.add(name[1])
            elif name[0].startswith("art_flat_"):
                found.add(name[0])
    return found


FILES = sorted((ROOT / "art_flat").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = path.relative_to(ROOT / "art_flat").parts[0].removesuffix(".py")
    if part == "__init__":
        return
    assert part in LEVEL, f"{part} has no place in the order of layers"
    for other in imported_parts(path) - {part, "__version__"}:
        assert not other.startswith("art_flat_"), f"{path} imports the plugin {other}"
        assert other in LEVEL
        if (part, other) in DOORS:
            continue
        assert LEVEL[other] < LEVEL[part], f"{part} imports {other}"
        assert not (part in {"adapters", "attacks"} and other == "scores")


def test_imports_point_one_way_sees_a_violation(tmp_path):
    package = tmp_path / "art_flat"
    (package / "functional").mkdir(parents=True)
    path = package / "functional" / "bad.py"
    path.write_text("def f():\n    from ..attacks.base import Attack\n    import art_flat_art\n")
    assert imported_parts(path, package) == {"attacks", "art_flat_art"}


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


def test_names_of_test_files_are_unique():
    """pytest imports them without packages, so that two of one name cannot both be collected."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


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


def test_doors_are_shut_until_they_are_used():
    code = (
        "import sys, art_flat.evaluation, art_flat.analysis\n"
        "heavy = ('art_flat.reporting', 'matplotlib.figure', 'plotly', 'jinja2.loaders')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert run_python(code) == "[]"


def test_version_is_in_one_place():
    from importlib.metadata import version

    import art_flat

    assert version("art-flat") == art_flat.__version__
