"""Certificates over balls of inputs in a run: the plan for each model, and their rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from .._utils.arrays import to_numpy
from ..adapters import Adapter
from ..attacks import Attack
from ..certification import CertificateKind, Graph
from ..errors import ArtFlatError
from ..records.schema import make_frame
from .ball_plan import BallPlan
from .certificate_budget import ALWAYS, planned_passes
from .grid import CertificateUnit
from .progress import Notify
from .radii import Deltas

BRANCH_SECONDS = 10.0
"""Time limit per sample and radius with `certify="branch"`, seconds."""
_INTERVAL_PASSES, _ROW_PASSES = 5, 2.4
"""Cost of interval bounds with one backward row, in forward passes of one sample."""
_DENSE_SHARE, _WINDOW_SHARE = 1 / 2, 1 / 24
"""Cost of a backward row, as a share of a pass: half of the rows are needed, and windows are a twelfth of an image."""
_OPERATIONS_PER_NOTE = 2e10
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
                f"backward bounds would cost about {cost.cheap:.2g} forward passes for each sample and radius, the "
                f'planned attacks {cost.attacks:.2g}; intervals alone were used. Pass certify="crown" for the rest'
            )
        elif plans[name].full is not None:
            limits[name] = (
                f"full backward bounds cost about {cost.full:.2g} forward passes for each sample and radius, the "
                f"planned attacks {cost.attacks:.2g}, so at most {cost.share:.1%} of the samples got them at each "
                'radius. Pass certify="crown" for all'
            )
    return plans, reasons, limits


class _Cost:
    """Cost of bounds and attacks, in forward passes of one sample at one radius."""

    def __init__(
        self, graph: Graph, operations: float, attacks: Sequence[Attack], deltas: Deltas, n: int
    ) -> None:
        n_radii = sum(len(radii) for norm, radii in deltas.items() if norm != "L0")
        self._always = ALWAYS / (operations * n * n_radii) if operations else np.inf
        self._operations = operations
        self.attacks = planned_passes(attacks, deltas, n) / (n * n_radii)
        self.cheap = _INTERVAL_PASSES + _ROW_PASSES * (2 * graph.n_classes - 1)
        self.full = self.cheap + _rows_of_layers(graph)
        self.share = min(1.0, max(self.attacks, self._always) / self.full)

    def plan(self, certify: str | None) -> BallPlan:
        """The plan for a value of `certify`."""
        if certify == "branch":
            return BallPlan("branch", seconds=BRANCH_SECONDS, batch_size=(1, 1))
        if certify == "crown":
            return BallPlan("crown", batch_size=(self._batch(self.full), 1))
        if self.cheap > max(self.attacks, self._always):
            return BallPlan("interval", batch_size=(self._batch(_INTERVAL_PASSES), 1))
        sizes = (self._batch(self.cheap), self._batch(self.full))
        return BallPlan("crown_interval", "crown", self.share, batch_size=sizes)

    def _batch(self, passes: float) -> int:
        return int(min(1000, max(1, _OPERATIONS_PER_NOTE / max(1.0, passes * self._operations))))


def _rows_of_layers(graph: Graph) -> float:
    """Cost of the rows of all layers, in forward passes of one sample, from the layers' shapes."""
    passes = 0.0
    for index in graph.activations[1:]:  # intervals are exact before the first
        shape = graph.nodes[graph.nodes[index].inputs[0]].shape
        share = _WINDOW_SHARE if len(shape) == 3 else _DENSE_SHARE
        passes += share * float(np.prod(shape)) * index / len(graph.nodes)
    return passes


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
            f"{unit}: full bounds for {len(chosen)} of {len(is_open)} open samples, as the cost of the attacks allows"
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
        notify(f"{unit}: {kind}, {start} of {len(samples)} samples")
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
