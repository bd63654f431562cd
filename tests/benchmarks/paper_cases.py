"""What the tests of the paper's experiments share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchattacks")

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "paper"


def holds(outcome: Any) -> dict[str, bool]:
    return {e.what: e.holds for e in outcome.effects}


@pytest.fixture(scope="module", name="paper")
def paper_fixture() -> Iterator[Any]:
    """The package `experiments` of benchmarks/paper, with the modules beside it."""
    own = {"experiments", "page", "run"}  # benchmarks/ has a `run` too, which other tests import

    def taken() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in own}

    others = taken()
    sys.path.insert(0, str(FOLDER))
    try:
        import experiments
        import page
        import run

        experiments.page, experiments.run = page, run
        experiments.units = sys.modules["experiments.units"]
        experiments.detecting = sys.modules["experiments.detection"]
        yield experiments
    finally:
        sys.path.remove(str(FOLDER))
        taken()
        sys.modules.update(others)
