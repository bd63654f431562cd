"""The table of certificates: what counts as missed, and that stored rows are not measured again."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    module = importlib.import_module("certificates")
    for name, path in (("STORE", "c.json"), ("PAGE", "c.md"), ("FIGURE", "c.svg")):
        monkeypatch.setattr(module, name, tmp_path / path)
    yield module
    del sys.modules["certificates"]


def found(**changes):
    shares = {"0.1": 50.0, "log 2": 80.0, "1": 90.0}
    return {
        "certified %": {"interval": shares, "crown_interval": shares, "crown": shares},
        "in feature space %": shares, "attacked %": {k: v + 6 for k, v in shares.items()},
        "largest attacked − certified": -0.1, "accuracy": 0.97, "median": 0.05, "CPU s an image": {"crown": 0.1},
        "forward passes": 100.0, "MB above the loaded net": 10.0,
    } | changes  # fmt: skip


def test_names_of_balls(table):
    rows = [table.Row("net", *ball, 1) for ball in (("Linf", 2 / 255), ("Linf", 0.1), ("L2", 0.25))]
    assert [table.ball(row) for row in rows] == ["L∞ 2/255", "L∞ 0.1", "L2 0.25"]


def test_what_counts_as_missed(table):
    row = table.Row("net", "Linf", 1 / 255, 10, (50, 82, 90), cost=99, median=0.01)
    assert table.judged(row, found()) == [
        "log 2: 80.0 < 82", "median 0.050 > 0.01 nats", "cost 100 > 99 forward passes"
    ]  # fmt: skip
    unsound = table.judged(table.Row("net", "L2", 0.1, 10), found(**{"largest attacked − certified": 0.2}))
    assert unsound == ["an attack is 0.2 nats above a bound"]
    certified = table.judged(table.Row(table.CERTIFIED_NET, "Linf", 0.1, 10), found(accuracy=0.95))
    assert [text.split(" ")[0] for text in certified] == ["0.1:", "log", "1:", "accuracy"]


def test_stored_rows_are_not_measured_again_and_rows_without_files_are_tried_again(table, monkeypatch):
    calls = []
    results = {"mnist_fcn": found(), "mnist_wong_kolter_01": {"skipped": "nets/ is not there"}}
    monkeypatch.setattr(table, "measured", lambda row, data: calls.append(row.net) or results[row.net])
    for _ in range(2):
        table.main("mnist_fcn, L2 0.1|wong", Path())
    assert calls == ["mnist_fcn", "mnist_wong_kolter_01", "mnist_wong_kolter_01"]
    page = table.PAGE.read_text()
    assert "| mnist_fcn | 200 | L2 0.1 | 50/80/90 |" in page
    assert "Skipped: mnist_wong_kolter_01, L∞ 0.1, n = 100: nets/ is not there." in page
