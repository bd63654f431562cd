"""What a release needs: one version, a citation, and a README that reads the same outside the repository."""

import importlib.util
import re
import tarfile
import tomllib
from pathlib import Path

import pytest

import art_flat as af

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def readme_outside():
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.readme_outside


def test_the_version_is_in_the_changelog_and_the_citation():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == af.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= citation.keys()
    changes = re.findall(
        r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert changes[0] == af.__version__


def test_pictures_and_links_get_the_address_of_the_repository(readme_outside):
    text = (
        "![a](docs/a.png) [b](CHANGELOG.md) [c](https://x.org/c) [d](#part) f(x)[0](y)\n"
        '<picture><source srcset="dark.png"><img src="light.png"></picture> <a href="x.md">x</a>'
    )
    assert readme_outside(text, "https://git.example/me/lib/") == (
        "![a](https://git.example/me/lib/raw/HEAD/docs/a.png) [b](https://git.example/me/lib/blob/HEAD/CHANGELOG.md) "
        "[c](https://x.org/c) [d](#part) f(x)[0](https://git.example/me/lib/blob/HEAD/y)\n"
        '<picture><source srcset="https://git.example/me/lib/raw/HEAD/dark.png">'
        '<img src="https://git.example/me/lib/raw/HEAD/light.png"></picture> '
        '<a href="https://git.example/me/lib/blob/HEAD/x.md">x</a>'
    )


def test_without_an_address_nothing_points_nowhere(readme_outside):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    outside = readme_outside(readme, None)
    prose = re.sub(r"```.*?```", "", outside, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r"(?:src|srcset)=\"([^\"]+)\"", prose)
    assert all(target.startswith(("https://", "http://", "#")) for target in targets)
    assert re.findall(r"```.*?```", outside, flags=re.DOTALL) == re.findall(
        r"```.*?```", readme, flags=re.DOTALL
    )


def relative_targets():
    readme = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s#]+)", readme) + re.findall(r"(?:src|srcset)=\"([^\"]+)\"", readme)
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def test_every_relative_target_of_the_readme_exists():
    assert relative_targets()
    assert [target for target in relative_targets() if not (ROOT / target).exists()] == []


PICTURES = r"<img src=\"([^\"]+)\"|!\[[^\]]*\]\(([^)]+)\)|srcset=\"([^\"]+)\""


def pictures_of(text):
    return [next(filter(None, found)) for found in re.findall(PICTURES, text)]


def test_the_long_description_has_pictures_at_the_address_of_the_repository():
    metadata = pytest.importorskip("hatchling.metadata.core")
    from hatchling.plugin.manager import PluginManager

    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    config["project"]["urls"] = {"Repository": "https://git.example/me/lib"}
    text = metadata.ProjectMetadata(str(ROOT), PluginManager(), config).core.readme
    relative = pictures_of((ROOT / "README.md").read_text(encoding="utf-8"))
    assert relative
    assert pictures_of(text) == [f"https://git.example/me/lib/raw/HEAD/{target}" for target in relative]


def test_the_source_distribution_holds_what_the_readme_refers_to(tmp_path, monkeypatch):
    build = pytest.importorskip("hatchling.build")
    monkeypatch.chdir(ROOT)
    name = build.build_sdist(str(tmp_path))
    with tarfile.open(tmp_path / name) as archive:
        held = {member.name.partition("/")[2] for member in archive.getmembers()}
    assert set(relative_targets()) <= held
