"""`Worker`: computes units, in this process or in a worker process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from .._utils.arrays import to_numpy
from .._utils.formatting import counted
from .._utils.random import seeded_rng
from .._utils.timeouts import TimeUpError, time_limit
from ..adapters import Adapter
from ..adapters._batches import ran_out_of_memory
from ..adapters.base import Outputs
from ..attacks.problem import CheckedArguments
from ..errors import ArtFlatError, AttackNotUsableError, UnsupportedEstimatorError
from ..functional import LipschitzBound, cross_entropy
from ..records.schema import make_frame
from ..typing import Norm
from ._data import Data
from .ball_certificates import certificate_rows, rows_without_bounds
from .ball_plan import BallPlan
from .certificates import certified_rows
from .grid import AnyUnit, CertificateUnit, CleanUnit, Unit
from .progress import Notify
from .radii import Deltas
from .remaining import Goal, remaining_samples, unbroken_samples
from .rows import adversarial_rows, clean_rows, missing_rows
from .settings import Settings
from .targets import Targets

_CACHED_BYTES = 64 * 2**20
"""Maximum size of the cached clean logits and features of shards."""

_EVERY = slice(None)


@dataclass(frozen=True)
class WorkerContext:
    """Options of a worker.

    Attributes:
        settings: The options of the run, resolved.
        deltas: Norm → radii, clip units.
        constants: Model name → norm → Lipschitz constant.
        targets: Target class of each sample; None for an untargeted run.
        balls: Model name → plan of the bounds over balls of inputs, if it has such bounds.
    """

    settings: Settings
    deltas: Deltas
    constants: Mapping[str, Mapping[Norm, LipschitzBound]]
    targets: Targets | None = None
    balls: Mapping[str, BallPlan] = field(default_factory=dict)


@dataclass(frozen=True)
class Computed:
    """The result of a unit.

    Attributes:
        frames: Rows by table.
        points: Adversarial points, shape of the unit's inputs; None for clean units and failed attacks.
    """

    frames: Mapping[str, pd.DataFrame]
    points: np.ndarray | None = None


class Worker:
    """Computes units, one at a time; equal units give equal rows, independent of previous units.

    Args:
        nets: Model name → adapter; looked up when a unit needs it.
        data: The data.
        context: Options of the workers.
        notify: Called with progress messages within a unit.
    """

    def __init__(
        self,
        nets: Mapping[str, Adapter],
        data: Data,
        context: WorkerContext,
        notify: Notify = lambda _: None,
    ) -> None:
        self.nets = nets
        self.data = data
        self.context = context
        self.notify = notify
        self._clean: OrderedDict[tuple[str, int, int], Outputs] = OrderedDict()

    def compute(self, unit: AnyUnit, earlier: Iterable[pd.DataFrame] = ()) -> Computed:
        """The rows of a unit; a failed attack has rows with the reason.

        Args:
            unit: The unit.
            earlier: The rows of the units that it depends on.

        Returns:
            Its rows and points.
        """
        with seeded_rng(unit.unit_seed, self.nets[unit.model].device):
            if isinstance(unit, CleanUnit):
                return self._clean_unit(unit)
            if isinstance(unit, CertificateUnit):
                return self._certificate_unit(unit, earlier)
            return self._attacked_unit(unit, self._remaining(unit, earlier))

    def forget(self) -> None:
        """Clear the cache of clean points."""
        self._clean.clear()

    def failed(
        self,
        unit: Unit,
        error: str,
        seconds: float = 0.0,
        status: str = "failed",
        remaining: np.ndarray | slice = _EVERY,
    ) -> Computed:
        """The rows of a unit without a result: keys and the reason.

        Args:
            unit: The unit.
            error: The reason.
            seconds: Elapsed time.
            status: `"failed"` or `"skipped"`.
            remaining: Positions of the samples to attack.

        Returns:
            The rows.
        """
        keys = self._keys(unit, remaining, self._known_targets(unit)).values()
        rows = [missing_rows(status, error, k, len(k["sample"]), seconds) for k in keys]
        return Computed({"adversarial": pd.concat(rows, ignore_index=True)})

    def _clean_unit(self, unit: CleanUnit) -> Computed:
        net, rows = self.nets[unit.model], unit.rows
        labels = self._labels(rows)
        outputs, samples = self._outputs(unit.model, rows), self.data.samples[rows]
        constants = self.context.constants.get(unit.model, {})
        deltas = self.context.deltas
        return Computed(
            {
                "clean": clean_rows(unit.model, net, outputs, labels, samples, self.data.weight[rows]),
                "certified": certified_rows(unit.model, net, outputs, labels, samples, deltas, constants),
            }
        )

    def _certificate_unit(self, unit: CertificateUnit, earlier: Iterable[pd.DataFrame]) -> Computed:
        plan, epsilons = self.context.balls[unit.model], self.context.settings.epsilons
        samples, labels = self.data.samples[unit.rows], self._labels(unit.rows)
        loss = cross_entropy(self._outputs(unit.model, unit.rows).logits.double().cpu(), labels)
        unbroken = unbroken_samples(unit, earlier, samples, to_numpy(loss), epsilons[-1])
        data = (self._inputs(unit.rows), labels, samples)
        net = self.nets[unit.model]
        rows = certificate_rows(unit, net, data, plan, unbroken, epsilons[0], self.notify)
        return Computed({"certified": rows})

    def without_bounds(self, unit: CertificateUnit) -> pd.DataFrame:
        """The rows of certificates that could not be computed: infinite bounds."""
        return rows_without_bounds(unit, self.data.samples[unit.rows], self.context.balls[unit.model].kind)

    def _remaining(self, unit: Unit, earlier: Iterable[pd.DataFrame]) -> np.ndarray | slice:
        """Positions of the samples that a unit attacks: all, unless it depends on other units."""
        if not unit.depends_on:
            return _EVERY
        logits = self._outputs(unit.model, unit.rows).logits
        undefined = cross_entropy(logits, self._labels(unit.rows).to(logits.device)).isnan()
        pred = to_numpy(logits.argmax(dim=1).masked_fill(undefined, -1))
        goal = Goal(self.data.y[unit.rows], self._targets(unit))
        return remaining_samples(unit, earlier, self.data.samples[unit.rows], goal, pred)

    def _attacked_unit(self, unit: Unit, remaining: np.ndarray | slice) -> Computed:
        nets, labels, x = self.nets, self._labels(unit.rows)[remaining], self._inputs(unit.rows)[remaining]
        if not len(labels):
            return Computed({"adversarial": make_frame("adversarial", {}, 0)}, to_numpy(x))
        target = self._targets(unit)
        keys = self._keys(unit, remaining, target)
        before = {m: Outputs(*(t[remaining] for t in self._outputs(m, unit.rows))) for m in keys}
        checked = CheckedArguments(
            x=x, y=labels, norm=unit.norm, delta=unit.delta,
            target=None if target is None else torch.from_numpy(target[remaining]),
            seed=unit.unit_seed, clean=before[unit.model],
            estimate_gradients=self.context.settings.estimate_gradients, radii=self.context.deltas,
            levels=self.context.settings.levels,
        )  # fmt: skip
        started = time.perf_counter()
        try:
            with time_limit(self.context.settings.time_limit):
                result = unit.attack.solve(nets[unit.model], checked)
            after = {m: result.outputs if m == unit.model else nets[m].outputs(result.x) for m in keys}
            frames = [adversarial_rows(nets[m], labels, before[m], result, after[m], keys[m]) for m in keys]
        except (Exception, TimeUpError) as error:
            refused = isinstance(error, (AttackNotUsableError, UnsupportedEstimatorError))
            status, seconds = "skipped" if refused else "failed", time.perf_counter() - started
            return self.failed(unit, self._reason(error, len(labels)), seconds, status, remaining)
        return Computed({"adversarial": pd.concat(frames, ignore_index=True)}, to_numpy(result.x))

    def _reason(self, error: BaseException, n: int) -> str:
        if isinstance(error, TimeUpError):
            return f"the attack did not end within {self.context.settings.time_limit:g} s (time_limit)"
        if ran_out_of_memory(error):
            return (
                f"memory ran out while {counted(n, 'sample was', 'samples were')} attacked "
                "together; lower `shard_size`, on which "
                f"the records depend, in a new folder ({type(error).__name__}: {str(error).splitlines()[0]})"
            )
        return str(error) if isinstance(error, ArtFlatError) else f"{type(error).__name__}: {error}"

    def _keys(
        self, unit: Unit, remaining: np.ndarray | slice, target: np.ndarray | None
    ) -> dict[str, dict[str, Any]]:
        """Key columns of a unit's rows, by the model that scores them."""
        models = list(self.nets) if self.context.settings.transfer else [unit.model]
        columns = {**unit.columns(), "sample": self.data.samples[unit.rows][remaining]}
        if target is not None:
            columns["target"] = target[remaining]
        return {m: {**columns, "model": m} for m in models}

    def _targets(self, unit: Unit) -> np.ndarray | None:
        """Target classes of a unit's samples, (m,); None if the run is untargeted."""
        if self.context.targets is None:
            return None
        logits = self._outputs(unit.model, unit.rows).logits
        return to_numpy(self.context.targets.of(unit.rows, self._labels(unit.rows), logits))

    def _known_targets(self, unit: Unit) -> np.ndarray | None:
        """As `_targets`, without running a model, which may be the cause of the crash."""
        is_known = (unit.model, unit.rows.start, unit.rows.stop) in self._clean
        return self._targets(unit) if is_known else None

    def _inputs(self, rows: slice) -> torch.Tensor:
        # a copy in torch's memory, so that arithmetic does not depend on the alignment of the data
        return torch.from_numpy(self.data.x[rows]).clone()

    def _labels(self, rows: slice) -> torch.Tensor:
        return torch.from_numpy(np.array(self.data.y[rows]))

    def _outputs(self, model: str, rows: slice) -> Outputs:
        """Clean logits and features of a shard, from a forward pass over that shard alone; cached."""
        key = (model, rows.start, rows.stop)
        if key not in self._clean:
            self._clean[key] = self.nets[model].outputs_unchecked(self._inputs(rows))
            while len(self._clean) > 1 and sum(map(_bytes, self._clean.values())) > _CACHED_BYTES:
                self._clean.popitem(last=False)
        self._clean.move_to_end(key)
        return self._clean[key]


def _bytes(outputs: Outputs) -> int:
    return sum(t.numel() * t.element_size() for t in outputs)
