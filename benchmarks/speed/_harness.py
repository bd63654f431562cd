"""Timing: two functions in turn, many times, and the ratio of each pair.

A ratio within one run carries over to other machines better than seconds do. Each pair is timed back to back, the
order alternates, so that drift of the clock or of the load hits both alike. The figure is the median ratio; the
interval is that of order statistics, which holds the true median with at least 95 % whatever the distribution (from
six pairs on; below that it is the whole range). Two clocks run: the wall's, and the process's own, in which other
programs on the machine count only through the caches they share. Processor time is the figure wherever the work is all
done by this process; on one thread and an idle machine the two agree.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from art_flat.records.manifest import environment

Work = Callable[[], Any]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"


@dataclass(frozen=True)
class Settings:
    """What a benchmark is told: how much, how long, and where the data are."""

    quick: bool = False
    """Sizes that only show that everything runs."""
    seconds: float = 20.0
    """About how long each comparison may take."""
    data: Path = DATA
    """Folder with MNIST/raw in it; scikit-learn's digits stand in where there is none."""

    def size(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full


@dataclass(frozen=True)
class Timing:
    """Paired timings of ours against a peer."""

    ratio: float
    low: float
    high: float
    wall_ratio: float
    seconds: float
    peer_seconds: float
    pairs: int
    fastest: float = math.nan
    """The ratio of the shortest times of either: what is least disturbed by other programs."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    against: str
    figure: str
    target: str = ""
    met: bool | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def paired(ours: Work, peer: Work, settings: Settings, *, least: int = 5, most: int = 41) -> Timing:
    """Time two pieces of work in turn, as often as `settings.seconds` allows, at least `least` times."""
    first = _timed(ours)[1] + _timed(peer)[1]  # warm-up, not counted
    number = 2 if settings.quick else max(least, min(most, int(settings.seconds / max(first, 1e-9))))
    pairs = []
    for turn in range(number):
        if turn % 2:
            b = _timed(peer)
            a = _timed(ours)
        else:
            a = _timed(ours)
            b = _timed(peer)
        pairs.append((a, b))
    ratios = sorted(_divide(a[0], b[0]) for a, b in pairs)
    low, high = _interval(ratios)
    return Timing(
        ratio=statistics.median(ratios),
        low=low,
        high=high,
        wall_ratio=statistics.median(a[1] / b[1] for a, b in pairs),
        seconds=statistics.median(a[1] for a, _ in pairs),
        peer_seconds=statistics.median(b[1] for _, b in pairs),
        pairs=number,
        fastest=_divide(min(a[0] for a, _ in pairs), min(b[0] for _, b in pairs)),
    )


def median_seconds(work: Work, settings: Settings, *, least: int = 3, most: int = 15) -> float:
    """Median processor time of a call after a first one."""
    first = _timed(work)[0]
    number = 1 if settings.quick else max(least, min(most, int(settings.seconds / max(first, 1e-9))))
    return statistics.median(_timed(work)[0] for _ in range(number))


def at_most(
    what: str, against: str, timing: Timing, limit: float | None, note: str = "", closest: float | None = None
) -> Row:
    """A row whose ratio is to stay below a limit on every processor; `closest` is what the best of them meets."""
    return Row(
        what,
        against,
        f"{timing.ratio:.3f} ({timing.low:.3f}…{timing.high:.3f}), wall {timing.wall_ratio:.3f}, "
        f"fastest {timing.fastest:.3f}",
        "" if limit is None else f"≤ {limit:.2f}" if closest is None else f"≤ {closest:.2f} to {limit:.2f}",
        None if limit is None else timing.ratio <= limit,
        note,
        asdict(timing),
    )


def faster(what: str, against: str, timing: Timing, limit: float | None, note: str = "") -> Row:
    """A row that says how many times faster ours is."""
    figure = f"{1 / timing.ratio:,.1f}× ({1 / timing.high:,.1f}…{1 / timing.low:,.1f})"
    met = None if limit is None else 1 / timing.ratio >= limit
    return Row(what, against, figure, "" if limit is None else f"≥ {limit:g}×", met, note, asdict(timing))


def missing(what: str, peer: str, why: str) -> Row:
    """A row of a peer that cannot be measured here."""
    return Row(what, peer, "–", note=why)


def machine() -> dict[str, Any]:
    """Where the figures were made."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        **environment(),
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def write(name: str, rows: Sequence[Row], folder: Path) -> None:
    """A JSON file with the latest run on each processor, and the table of this run in Markdown beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    here = {"environment": machine(), "rows": [asdict(row) for row in rows]}
    others = [run for run in runs(folder / f"{name}.json") if _where(run) != _where(here)]
    facts = {"benchmark": name, "runs": [*others, here]}
    text = json.dumps(facts, indent=1, ensure_ascii=False, default=float)
    (folder / f"{name}.json").write_text(text + "\n")
    (folder / f"{name}.md").write_text(markdown(here["rows"]) + "\n")


def runs(path: Path) -> list[dict[str, Any]]:
    """What a JSON file holds: one run per processor and number of threads, the latest of each."""
    return json.loads(path.read_text())["runs"] if path.exists() else []


def _where(run: dict[str, Any]) -> tuple[str, int]:
    return run["environment"]["processor"], run["environment"]["threads"]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a table."""
    lines = ["| what | against | figure | target | met | note |", "|---|---|---|---|---|---|"]
    for row in rows:
        met = {True: "yes", False: "**no**", None: ""}[row["met"]]
        cells = [row["what"], row["against"], row["figure"], row["target"], met, row["note"]]
        lines.append("| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |")
    return "\n".join(lines)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log seconds over log size, by least squares."""
    x, y = ([math.log(v) for v in values] for values in (sizes, seconds))
    mx, my = statistics.fmean(x), statistics.fmean(y)
    slope = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return slope / sum((a - mx) ** 2 for a in x)


def python(*arguments: str) -> list[str]:
    """A command for this interpreter."""
    return [sys.executable, *arguments]


def _timed(work: Work) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _divide(a: float, b: float) -> float:
    return a / b if b > 0 else math.nan


def _interval(ordered: Sequence[float]) -> tuple[float, float]:
    # the largest k with P(fewer than k of n below the median) ≤ 2.5 %
    n, k, tail = len(ordered), 0, 0.0
    while k < n // 2 and tail + math.comb(n, k) / 2**n <= 0.025:
        tail += math.comb(n, k) / 2**n
        k += 1
    k = max(k, 1)
    return ordered[k - 1], ordered[n - k]
