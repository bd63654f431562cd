"""Cost estimate of a run from a short measured probe of each attack."""

from __future__ import annotations

import heapq
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .._utils.formatting import counted, norm_sign
from .._utils.numbers import check_number
from .._utils.threads import threads
from .._utils.validation import check_keywords
from ..adapters._lipschitz import lipschitz_constants
from ..attacks import Attack
from ..records.files import parquet
from ..records.schema import to_arrow
from ._data import check_data
from .grid import AnyUnit, CertificateUnit, CleanUnit
from .run import Run, adapt_models, check_run
from .settings import Settings
from .worker import Computed, Worker

_FIRST, _GROWTH = 2, 4
"""Samples of the first probe, and the factor to the next one."""

_ALIKE = 0.15
"""Relative difference of an attack's cost at its smallest and largest δ, up to which those between are not probed."""

CLEAN_PASS = "(clean points)"
"""Name in place of an attack, for the pass over the clean points."""

CERTIFICATES = "(certificates)"
"""In place of an attack, for bounds over balls of inputs."""

_HEADER_BYTES = 400
"""Bytes of a file of points in addition to the points."""


@dataclass(frozen=True)
class Cost:
    """Cost of a unit of n samples: a constant and a cost per sample; the passes have no constant."""

    seconds: tuple[float, float]
    bytes: tuple[float, float]
    forwards: float
    backwards: float

    def of(self, n: int) -> tuple[float, float, float, float]:
        """Seconds, bytes, forward and backward passes of a unit of `n` samples."""
        (a, b), (c, d) = self.seconds, self.bytes
        return a + b * n, c + d * n, self.forwards * n, self.backwards * n


@dataclass(frozen=True)
class Plan:
    """The expected cost of a run.

    Attributes:
        units: One row per unit, in the order of the run: `model, attack, norm, delta, samples, seconds, bytes,
            forwards, backwards`.
        setup_seconds: Time once per run, for the models' Lipschitz constants.
        start_seconds: Time once per worker, to start it.
        peak_bytes: Peak memory of this process during the probes.
        probe_seconds: Duration of the probes.
    """

    units: pd.DataFrame
    setup_seconds: float
    start_seconds: float
    peak_bytes: int
    probe_seconds: float

    def table(self) -> pd.DataFrame:
        """The cost by model and attack, in the order of the run.

        Returns:
            Columns `model, attack, units, forwards, backwards` (passes of one sample), `seconds` on one worker,
            `bytes` on disk.
        """
        columns = ["forwards", "backwards", "seconds", "bytes"]
        groups = self.units.groupby(["model", "attack"], sort=False)
        return pd.concat([groups.size().rename("units"), groups[columns].sum()], axis=1).reset_index()

    def seconds(self, workers: int = 1) -> float:
        """Expected wall-clock time with workers as fast as this one, each taking the next unit when it is free.

        Args:
            workers: Number of workers, at least 1.

        Returns:
            Seconds.
        """
        ends = [0.0] * workers
        for seconds in self.units["seconds"]:
            heapq.heapreplace(ends, ends[0] + seconds)
        return self.setup_seconds + self.start_seconds + max(ends)


@check_keywords
def plan(
    models: Mapping[str, Any] | Any,
    x: Any,
    y: Any = None,
    *,
    deltas: Any,
    attacks: str | Attack | Iterable[str | Attack] = "fast",
    probe_seconds: float = 0.3,
    samples: Any = None,
    weight: Any = None,
    start_seconds: float = 0.0,
    notify: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Plan:
    """Estimate the cost of a run by measuring each attack on a few samples.

    Each attack runs on growing numbers of samples, spread over the data, until a probe takes `probe_seconds`; the
    last two determine a constant and a cost per sample. Attacks whose cost is independent of δ are probed at two radii.
    Certificates are planned as if no sample were broken.

    Args:
        models: As for `evaluate`.
        x: Clean inputs, shape (n, ...).
        y: True labels.
        deltas: Radii in clip units.
        attacks: Suites, names and attacks.
        probe_seconds: Duration of a probe; longer probes are more accurate.
        samples: Sample ids.
        weight: Sample weights.
        start_seconds: Time to start a worker.
        notify: Called with a message per probed attack.
        **options: Further arguments of `evaluate` that determine its records, and `save_adversarial`.

    Returns:
        The plan.

    Raises:
        InputError: If an argument is invalid.

    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> cost = plan(net, x, y, attacks="art_flat:PGD(steps=2)", deltas={"Linf": [0.1]}, probe_seconds=0.01)
    >>> cost.units["attack"].tolist()
    ['(clean points)', 'art_flat:PGD(steps=2)', '(certificates)']
    """
    limit = check_number(probe_seconds, "probe_seconds", "seconds", above=0.0)
    began = time.perf_counter()
    settings, nets = Settings(**options), adapt_models(models)
    data = check_data(nets, x, y, samples, weight)
    run = check_run(nets, data, attacks=attacks, deltas=deltas, settings=settings)
    with threads(run.threads):
        setup = time.perf_counter()
        spectral = isinstance(run.settings.lipschitz, str)
        constants = {
            name: lipschitz_constants(net, run.certified_norms(name) if spectral else {}, None)[0]
            for name, net in run.nets.items()
        }
        setup = time.perf_counter() - setup
        worker = Worker(run.nets, run.data, run.context(constants))
        costs = _costs(run, worker, limit, notify)
    rows = []
    for unit in _units(run):
        n, cell = unit.rows.stop - unit.rows.start, _cell(unit)
        rows.append((*cell, n, *costs[cell].of(n)))
    columns = ["model", "attack", "norm", "delta", "samples", "seconds", "bytes", "forwards", "backwards"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    units = pd.DataFrame(rows, columns=columns).astype({"delta": float})
    return Plan(units, setup, start_seconds, peak, time.perf_counter() - began)


_Cell = tuple[str, str, str | None, float | None]


def _units(run: Run) -> list[AnyUnit]:
    return [*run.grid.clean, *run.grid.after_clean]


def _cell(unit: AnyUnit) -> _Cell:
    if isinstance(unit, CleanUnit):
        return unit.model, CLEAN_PASS, None, None
    if isinstance(unit, CertificateUnit):
        return unit.model, CERTIFICATES, unit.norm, unit.delta
    return unit.model, unit.attack.name, unit.norm, unit.delta


def _costs(run: Run, worker: Worker, limit: float, notify: Callable[[str], None]) -> dict[_Cell, Cost]:
    cells: dict[_Cell, AnyUnit] = {}
    groups: dict[tuple[str, str, str | None], list[_Cell]] = {}
    for unit in _units(run):
        cell = _cell(unit)
        if cells.setdefault(cell, unit) is unit:  # the first shard represents the others
            groups.setdefault(cell[:3], []).append(cell)
    probe = _Probe(run, worker, limit)
    costs: dict[_Cell, Cost] = {}
    for (model, attack, norm), members in groups.items():
        ends = {cell: probe.cost(cells[cell]) for cell in dict.fromkeys((members[0], members[-1]))}
        first, last = ends[members[0]], ends[members[-1]]
        full = min(run.settings.shard_size, len(run.data.x))
        alike = abs(first.of(full)[0] - last.of(full)[0]) <= _ALIKE * max(first.of(full)[0], last.of(full)[0])
        for i, cell in enumerate(members):
            near = first if i < len(members) / 2 else last
            costs[cell] = ends.get(cell) or (near if alike else probe.cost(cells[cell]))
        spent = f"{np.mean([costs[c].of(full)[0] for c in members]):.3g} s for {counted(full, 'sample')}"
        notify(f"{model}: {attack}{f', {norm_sign(norm)}' if norm else ''}: {spent}")
    return costs


class _Probe:
    """Runs units of few samples, spread over the data, and measures them."""

    def __init__(self, run: Run, worker: Worker, limit: float) -> None:
        self._worker, self._limit, self._keep = worker, limit, run.settings.save_adversarial
        self._full = min(run.settings.shard_size, len(run.data.x))
        self._total = len(run.data.x)
        self._warm: set[tuple[str, str]] = set()

    def cost(self, unit: AnyUnit) -> Cost:
        if _cell(unit)[:2] not in self._warm:  # one-time initialisation of libraries
            self._warm.add(_cell(unit)[:2])
            self._run(unit, 1)
        sizes, seconds, sizes_in_bytes = [], [], []
        size = min(_FIRST, self._full)
        while True:
            took, computed = self._run(unit, size)
            sizes.append(size)
            seconds.append(took)
            sizes_in_bytes.append(_bytes(computed, self._keep))
            if size == self._full or (took >= self._limit and len(sizes) > 1):
                break
            size = min(_GROWTH * size, self._full)
        rows = computed.frames.get("adversarial")
        passes = [0.0 if rows is None else float(rows[c].sum()) / size for c in ("forwards", "backwards")]
        if isinstance(unit, CleanUnit):
            passes[0] = 1.0
        return Cost(fitted_line(sizes, seconds), fitted_line(sizes, sizes_in_bytes), *passes)

    def _run(self, unit: AnyUnit, n: int) -> tuple[float, Computed]:
        rows = slice(0, (step := max(1, self._total // n)) * n, step)
        probe_unit = (
            replace(unit, rows=rows)
            if isinstance(unit, CleanUnit)
            else replace(unit, rows=rows, depends_on=())
        )
        self._worker.forget()
        began = time.perf_counter()
        computed = self._worker.compute(probe_unit)
        return time.perf_counter() - began, computed


def fitted_line(sizes: list[int], values: list[float]) -> tuple[float, float]:
    """A constant ≥ 0 and a slope ≥ 0 through the last two points.

    Args:
        sizes: Numbers of samples, increasing.
        values: Cost of each.

    Returns:
        The constant, and the cost per sample.
    """
    if len(sizes) == 1 or sizes[-1] == sizes[-2]:
        return 0.0, values[-1] / sizes[-1]
    slope = max(0.0, (values[-1] - values[-2]) / (sizes[-1] - sizes[-2]))
    constant = values[-1] - slope * sizes[-1]
    return (constant, slope) if constant >= 0 else (0.0, values[-1] / sizes[-1])


def _bytes(computed: Computed, keep: bool) -> float:
    size = sum(len(parquet(to_arrow(table, frame), {})) for table, frame in computed.frames.items())
    if keep and computed.points is not None:
        size += computed.points.nbytes + 8 * len(computed.points) + _HEADER_BYTES
    return float(size)
