"""The benchmarks' own arithmetic, and that each of them runs."""

import importlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def path():
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def harness():
    return importlib.import_module("speed._harness")


def spin(seconds):
    def work():
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return work


def test_ratio_of_pairs(harness):
    timing = harness.paired(spin(0.02), spin(0.01), harness.Settings(seconds=1.0))
    assert timing.ratio == pytest.approx(2, rel=0.1)
    assert timing.low <= timing.ratio <= timing.high
    assert timing.pairs >= 5


def test_rows_say_whether_the_target_is_met(harness):
    timing = harness.Timing(1.05, 1.0, 1.1, 1.06, 1.0, 1.0, 5)
    assert harness.at_most("a", "b", timing, 1.10).met
    assert not harness.at_most("a", "b", timing, 1.02).met
    assert harness.at_most("a", "b", timing, None).met is None
    assert harness.faster("a", "b", harness.Timing(0.5, 0.4, 0.6, 0.5, 1, 2, 5), 1.8).met
    table = harness.markdown([vars(harness.missing("a|b", "peer", "not installed"))])
    assert "a\\|b" in table
    assert "not installed" in table


@pytest.mark.parametrize("n", [5, 6, 12, 41])
def test_interval_holds_the_median_with_95_percent(harness, n):
    low, high = harness._interval(list(range(n)))
    k = low + 1  # the k-th smallest and the k-th largest
    assert high == n - k
    outside = 2 * sum(math.comb(n, i) for i in range(k)) / 2**n
    assert outside <= 0.05 or k == 1
    if n > 6:
        assert 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n > 0.05  # no narrower one does


def test_exponent(harness):
    assert harness.exponent([1, 10, 100], [3, 300, 30000]) == pytest.approx(2)


def test_unknown_name_and_list(capsys):
    run = importlib.import_module("run")
    with pytest.raises(SystemExit):
        run.main(["sped"])
    assert "no benchmark sped" in capsys.readouterr().err
    assert run.main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert "forward" in shown
    assert "peers" in shown


def test_table_goes_between_the_marks(tmp_path, harness):
    run = importlib.import_module("run")
    harness.write("head", [harness.Row("κ", "linear", "1.03", "≤ 1.04", True)], tmp_path)
    page = tmp_path / "README.md"
    page.write_text(f"before\n{run.START}\nold\n{run.END}\nafter\n")
    run.table(page, tmp_path, harness)
    run.table(page, tmp_path, harness)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| κ | linear | 1.03 | ≤ 1.04 | yes |  |" in text


def test_every_processor_keeps_its_latest_run(tmp_path, harness, monkeypatch):
    for processor, figure in (("one", "1.03"), ("other", "1.08"), ("one", "1.02")):
        monkeypatch.setattr(harness, "machine", lambda p=processor: {"processor": p, "threads": 1})
        harness.write("head", [harness.Row("κ", "linear", figure)], tmp_path)
    kept = {
        r["environment"]["processor"]: r["rows"][0]["figure"] for r in harness.runs(tmp_path / "head.json")
    }
    assert kept == {"one": "1.02", "other": "1.08"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["forward", "head", "peers", "attacks", "suite", "probe", "regularizer", "scoring"]
)
def test_every_benchmark_runs(name, tmp_path):
    check(tmp_path, name, ["run.py", name, "--quick", "--out", str(tmp_path)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["memory", "imports", "growth"])
def test_those_that_start_processes_run(name, tmp_path):
    check(tmp_path, name, ["run.py", name, "--quick", "--out", str(tmp_path)])


@pytest.mark.slow
def test_the_gpu_script_runs_without_a_gpu(tmp_path):
    name = "gpu" if importlib.import_module("torch").cuda.is_available() else "gpu-on-cpu"
    rows = check(tmp_path, name, ["gpu.py", "--quick", "--out", str(tmp_path)])
    (copies,) = [row for row in rows if "reads of a number" in row["what"]]
    assert copies["met"]  # as many with four batches as with two: nothing per batch


def check(folder, name, command):
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True, text=True)
    (facts,) = json.loads((folder / f"{name}.json").read_text())["runs"]
    assert facts["environment"]["packages"]["torch"]
    assert facts["rows"]
    assert (folder / f"{name}.md").read_text().startswith("| what |")
    assert all(row["figure"] for row in facts["rows"])
    return facts["rows"]
