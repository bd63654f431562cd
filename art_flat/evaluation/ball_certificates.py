"""Certificates over balls of inputs in a run: the plan for each model, and their rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from .._utils.arrays import to_numpy
from .._utils.formatting import counted
from ..adapters import Adapter
from ..attacks import Attack
from ..certification import CertificateKind, Graph, operations_of_bounds
from ..errors import ArtFlatError
from ..records.schema import make_frame
from .ball_plan import BallPlan
from .certificate_budget import planned_passes
from .grid import CertificateUnit
from .progress import Notify
from .radii import Deltas

BRANCH_SECONDS = 10.0
"""Time limit per sample and radius with `certify="branch"`, seconds."""
ALWAYS = 2e11
"""Operations of bounds on one model that are always allowed: about a minute on one core."""
LONGEST = 2e11
"""Most operations of full bounds for one sample with `certify="auto"`: about a minute, without progress messages."""
_OPERATIONS_PER_NOTE = 1e10
"""Cost between two progress messages: some seconds on one core."""


class CertificateWarning(UserWarning):
    """Bounds of some samples could not be computed."""


def ball_plans(
    nets: Mapping[str, Adapter], certify: str | None, attacks: Sequence[Attack], deltas: Deltas, samples: Any
) -> tuple[dict[str, BallPlan], dict[str, str], dict[str, str]]:
    """The plan of bounds over balls for each model; it depends only on the arguments, so that every machine agrees.

    Args:
        nets: The models, by name.
        certify: See `evaluate`.
        attacks: The attacks of the run.
        deltas: Norm → radii, clip units.
        samples: The inputs, shape (n, ...), read by rows.

    Returns:
        Model → plan; model → reason for no bounds, or only intervals; and model → reason for a limited number of full
        bounds.
    """
    plans: dict[str, BallPlan] = {}
    reasons: dict[str, str] = {}
    limits: dict[str, str] = {}
    if certify in {None, "lipschitz"} or not any(norm != "L0" for norm in deltas):
        return plans, reasons, limits
    for name, net in nets.items():
        try:
            graph = net._graph(torch.from_numpy(np.array(samples[:2])))
            operations = net.lipschitz_cost().forward
        except Exception as error:  # a model may raise any exception during tracing
            reasons[name] = (
                f"{_text(error)}. Bounds in feature space do not need this; "
                f'with lipschitz={{"{name}": L}} they use a known constant'
            )
            continue
        cost = _Cost(graph, operations, attacks, deltas, len(samples))
        plans[name] = cost.plan(certify)
        if plans[name].kind == "interval":
            reasons[name] = (
                f"backward bounds would cost about {cost.cheap:.2g} operations for each sample and radius, the "
                f'planned attacks {cost.attacks:.2g}; intervals alone were used. Pass certify="crown" for the rest'
            )
        elif plans[name].full is not None:
            limits[name] = (
                f"full backward bounds cost about {cost.full:.2g} operations for each sample and radius, the "
                f"planned attacks {cost.attacks:.2g}, {_most(cost.share)}. "
                'Pass certify="crown" for all'
            )
    return plans, reasons, limits


def _most(share: float) -> str:
    if share:
        return f"so at most {share:.1%} of the samples got them at each radius"
    return f"and no sample got them: one may cost no more than all attacks, and at most {LONGEST:.0g}"


class _Cost:
    """Operations of bounds for one sample at one radius, and of the attacks on it."""

    def __init__(
        self, graph: Graph, operations: float, attacks: Sequence[Attack], deltas: Deltas, n: int
    ) -> None:
        n_bounds = n * sum(len(radii) for norm, radii in deltas.items() if norm != "L0")
        self.interval, self.cheap, self.full = (operations_of_bounds(graph, kind) for kind in _KINDS)
        self.attacks = operations * planned_passes(attacks, deltas, n) / n_bounds
        self._allowed = max(self.attacks, ALWAYS / n_bounds)
        fits_one = self.full <= min(self._allowed * n_bounds, LONGEST)
        self.share = min(1.0, self._allowed / self.full) if fits_one else 0.0

    def plan(self, certify: str | None) -> BallPlan:
        """The plan for a value of `certify`."""
        if certify == "branch":
            return BallPlan("branch", seconds=BRANCH_SECONDS, batch_size=(1, 1))
        if certify == "crown":
            return BallPlan("crown", batch_size=(_batch(self.full), 1))
        if self.cheap > self._allowed:
            return BallPlan("interval", batch_size=(_batch(self.interval), 1))
        return BallPlan(
            "crown_interval", "crown", self.share, batch_size=(_batch(self.cheap), _batch(self.full))
        )


_KINDS: tuple[CertificateKind, ...] = ("interval", "crown_interval", "crown")


def _batch(operations: float) -> int:
    """Samples between two progress messages."""
    return int(min(1000, max(1, _OPERATIONS_PER_NOTE / operations)))


_Samples = tuple[torch.Tensor, torch.Tensor, np.ndarray]
"""Inputs (n, ...), labels (n,) and sample ids (n,)."""


def certificate_rows(
    unit: CertificateUnit,
    net: Adapter,
    data: _Samples,
    plan: BallPlan,
    unbroken: np.ndarray,
    epsilon: float,
    notify: Notify,
) -> pd.DataFrame:
    """Rows of the `certified` table: one per sample, and a second one for full bounds of open samples.

    Args:
        unit: Model, norm and δ.
        net: The adapted model.
        data: Inputs, labels and sample ids.
        plan: The plan of the model.
        unbroken: Mask of the samples that may get full bounds, bool (n,).
        epsilon: The smallest ε, nats; a sample is open where its bound is above it.
        notify: Called with progress messages.

    Returns:
        The rows.
    """
    first, bound = _rows(unit, net, data, plan.kind, plan, notify)
    if plan.full is None:
        return first
    is_open = np.flatnonzero(unbroken & ~(bound <= epsilon))
    chosen = is_open[: plan.most(len(bound))]
    if len(chosen) < len(is_open):
        notify(
            f"{unit}: full bounds for {len(chosen)} of {counted(len(is_open), 'open sample')}, as "
            "the cost of the attacks allows"
        )
    if not len(chosen):
        return first
    x, labels, samples = data
    rest, _ = _rows(unit, net, (x[chosen], labels[chosen], samples[chosen]), plan.full, plan, notify)
    return pd.concat([first, rest], ignore_index=True)


def rows_without_bounds(unit: CertificateUnit, samples: np.ndarray, kind: CertificateKind) -> pd.DataFrame:
    """Rows with infinite bounds."""
    nothing = np.full(len(samples), np.inf)
    return _frame(unit, samples, kind, nothing, np.zeros(len(samples), bool))


def _rows(
    unit: CertificateUnit, net: Adapter, data: _Samples, kind: CertificateKind, plan: BallPlan, notify: Notify
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of one kind, and their bounds (n,)."""
    x, labels, samples = data
    bound, label_kept = np.full(len(samples), np.inf), np.zeros(len(samples), bool)
    size = plan.batch_size[kind == plan.full]
    for start in range(0, len(samples), size):
        part = slice(start, start + size)
        notify(f"{unit}: {kind}, {start} of {counted(len(samples), 'sample')}")
        try:
            bounds = net.bounds_in_ball(
                x[part], labels[part], delta=unit.delta, norm=unit.norm, kind=kind, seconds=plan.seconds
            )
        except Exception as error:  # such as out of memory; other bounds are kept
            warnings.warn(f"{unit}: no {kind} bounds: {_text(error)}", CertificateWarning, stacklevel=2)
            continue
        bound[part], label_kept[part] = to_numpy(bounds.loss_increase), to_numpy(bounds.label_kept)
    return _frame(unit, samples, kind, bound, label_kept), bound


def _frame(
    unit: CertificateUnit,
    samples: np.ndarray,
    kind: CertificateKind,
    bound: np.ndarray,
    label_kept: np.ndarray,
) -> pd.DataFrame:
    keys = {"model": unit.model, "sample": samples, "norm": unit.norm, "delta": unit.delta, "kind": kind}
    return make_frame(
        "certified", {**keys, "loss_increase_bound": bound, "label_kept": label_kept}, len(samples)
    )


def _text(error: Exception) -> str:
    return str(error).rstrip(".") if isinstance(error, ArtFlatError) else f"{type(error).__name__}: {error}"
