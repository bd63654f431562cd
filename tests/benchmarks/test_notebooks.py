"""The notebooks run, are stored with their output and pictures, and stay small and fast."""

import time
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "benchmarks" / "notebooks").glob("*.ipynb"))
MOST_BYTES, MOST_SECONDS = 1_000_000, 180


def read(path):
    return pytest.importorskip("nbformat").read(path, as_version=4)


def test_there_are_four():
    assert len(NOTEBOOKS) == 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_stored_with_output_and_pictures(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert path.stat().st_size < MOST_BYTES
    assert all(cell.execution_count for cell in cells)
    assert {"image/png", "text/html"} <= kinds
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_runs(path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # small nets are fastest so, also beside other processes
    began = time.perf_counter()
    nbclient.NotebookClient(
        read(path),
        timeout=MOST_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    assert time.perf_counter() - began < MOST_SECONDS
