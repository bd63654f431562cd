"""Differences of Windows and macOS, as far as they can be tested elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import art_flat as af
from art_flat._utils import replace as _replace
from art_flat._utils.files import write_atomically
from art_flat.errors import ConfigError, InputError, StoreError
from art_flat.models import build

ROOT = Path(__file__).resolve().parents[1]


def refusal(code):
    error = PermissionError(13, "Access is denied")
    error.winerror = code
    return error


@pytest.fixture
def open_elsewhere(monkeypatch):
    """Make renaming fail as on Windows, a number of times."""
    slept = []

    def fail(times, code=32):
        errors, replace = [refusal(code)] * times, os.replace
        monkeypatch.setattr(
            _replace.os, "replace", lambda a, b: raise_(errors.pop()) if errors else replace(a, b)
        )
        monkeypatch.setattr(_replace.time, "sleep", slept.append)
        return slept

    return fail


def raise_(error):
    raise error


@pytest.mark.parametrize("code", [5, 32])
def test_a_file_that_is_open_elsewhere_is_waited_for(tmp_path, open_elsewhere, code):
    (tmp_path / "unit").write_bytes(b"old")
    slept = open_elsewhere(4, code)
    write_atomically(tmp_path / "unit", b"new")
    assert (tmp_path / "unit").read_bytes() == b"new"
    assert len(slept) == 4
    assert sum(slept) < 2


def test_one_that_stays_open_is_named_and_kept(tmp_path, open_elsewhere):
    (tmp_path / "unit").write_bytes(b"old")
    open_elsewhere(100)
    with pytest.raises(StoreError, match="unit"):
        write_atomically(tmp_path / "unit", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["unit"]
    assert (tmp_path / "unit").read_bytes() == b"old"


def test_a_file_that_may_not_be_written_is_not_waited_for(tmp_path, open_elsewhere):
    slept = open_elsewhere(1, code=None)
    with pytest.raises(PermissionError):
        _replace.replace_file(tmp_path / "a", tmp_path / "b")
    assert not slept


def test_every_file_takes_its_place_this_way():
    sources = {
        path.relative_to(ROOT / "art_flat").as_posix(): path.read_text(encoding="utf-8")
        for path in (ROOT / "art_flat").rglob("*.py")
    }

    def users(*words):
        return {name for name, text in sources.items() if any(word in text for word in words)}

    assert users("part.replace(", "os.replace(") == {"_utils/replace.py"}
    assert users("replace_file", '.part"') == {"_utils/replace.py", "_utils/files.py"}


def test_models_whose_names_differ_in_case_alone_need_two_files(digits, tmp_path):
    net, x, y = digits
    results = af.evaluate(
        {"net": net, "Net": net}, x[:4], y[:4], attacks=["art_flat:PGD(steps=1)"], deltas={"Linf": [0.1]},
        transfer=False, certify=None,
    )  # fmt: skip
    with pytest.raises(InputError, match="rename one"):
        results.to_robustbench(tmp_path)


def test_a_path_with_a_drive_letter_is_not_taken_for_a_factory():
    with pytest.raises(ConfigError, match=r"factory 'C:\\\\nets\\\\cnn.py'"):
        build("C:\\nets\\cnn.py", input_shape=(1, 8, 8), nb_classes=10)


@pytest.mark.slow
def test_workers_that_are_spawned(tmp_path):
    """As on Windows and macOS, where nothing is forked: main module guarded, everything handed over pickled."""
    script = tmp_path / "run.py"
    script.write_text(
        "import multiprocessing, numpy as np, art_flat as af\n"
        "from art_flat.models import as_classifier, digits_cnn\n"
        "def main():\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    net = af.adapt(as_classifier(digits_cnn(), input_shape=(1, 8, 8), nb_classes=10))\n"
        "    x = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)\n"
        "    options = dict(attacks=['art_flat:PGD(steps=2)'], deltas={'Linf': [0.1]}, shard_size=4)\n"
        "    two = af.evaluate(net, x, np.arange(8), n_jobs=2, **options)\n"
        "    one = af.evaluate(net, x, np.arange(8), **options)\n"
        "    columns = ['sample', 'linf', 'pred']\n"
        "    assert two.adversarial[columns].equals(one.adversarial[columns])\n"
        "    print('equal')\n"
        "if __name__ == '__main__':\n"
        "    main()\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip().endswith("equal"), done.stderr
