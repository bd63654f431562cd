"""Certificates over balls of inputs within a run: which kind each model gets, and their rows."""

from __future__ import annotations

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
from .certificate_budget import ALWAYS, planned_passes
from .grid import Deltas

BRANCH_SECONDS = 10.0
"""Time for each sample and radius with `certify="branch"`."""
_CHEAP_PASSES = 50
"""Forward passes of one sample that the cheap kinds are worth."""
_DENSE_SHARE, _WINDOW_SHARE = 1 / 2, 1 / 24
"""Of a pass that a backward row costs: half of the rows are needed, and windows are a twelfth of an image."""


def ball_kinds(
    nets: Mapping[str, Adapter], certify: str | None, attacks: Sequence[Attack], deltas: Deltas, samples: Any
) -> tuple[dict[str, CertificateKind], dict[str, str]]:
    """Which kind of bound over balls each model gets; a function of the arguments alone, equal on every machine.

    Args:
        nets: The models, by name.
        certify: As `evaluate` takes it.
        attacks: The attacks of the run.
        deltas: Norm → radii, clip units.
        samples: The inputs, shape (n, ...), read by rows.

    Returns:
        Model → kind; and model → why it gets none, or a cheaper one.
    """
    kinds: dict[str, CertificateKind] = {}
    reasons: dict[str, str] = {}
    if certify in {None, "lipschitz"} or not any(norm != "L0" for norm in deltas):
        return kinds, reasons
    for name, net in nets.items():
        try:
            graph = net._graph(torch.from_numpy(np.array(samples[:2])))
        except ArtFlatError as error:
            reasons[name] = str(error)
            continue
        kinds[name] = "branch" if certify == "branch" else "crown"
        if certify == "auto":
            planned = planned_passes(attacks, deltas, len(samples))
            needed = _passes(graph) * len(samples) * sum(len(r) for n, r in deltas.items() if n != "L0")
            operations = net.lipschitz_cost().forward * needed
            if needed > planned and not 0 < operations <= ALWAYS:
                kinds[name] = "crown_interval"
                reasons[name] = (
                    f"full backward bounds would cost about {needed:.2g} forward passes, the planned attacks "
                    f'{planned:.2g}; bounds from intervals were used instead. Pass certify="crown" for the full ones'
                )
    return kinds, reasons


def ball_rows(
    name: str,
    net: Adapter,
    x: torch.Tensor,
    labels: torch.Tensor,
    samples: np.ndarray,
    deltas: Deltas,
    kind: CertificateKind,
) -> pd.DataFrame:
    """Rows of the `certified` table from bounds over balls of inputs.

    Args:
        name: The model's name.
        net: The adapted model.
        x: Clean inputs, shape (n, ...).
        labels: True labels, int64 (n,).
        samples: Sample ids (n,).
        deltas: Norm → radii, clip units.
        kind: How to find the bounds.

    Returns:
        One row per sample, norm and δ; none in L0.
    """
    frames = []
    seconds = BRANCH_SECONDS if kind == "branch" else None
    for norm, delta in ((n, d) for n, radii in deltas.items() if n != "L0" for d in radii):
        found = net.bounds_in_ball(x, labels, delta=delta, norm=norm, kind=kind, seconds=seconds)
        columns = {
            "model": name,
            "sample": samples,
            "norm": norm,
            "delta": delta,
            "kind": kind,
            "loss_increase_bound": to_numpy(found.loss_increase),
            "label_kept": to_numpy(found.label_kept),
        }
        frames.append(make_frame("certified", columns, len(samples)))
    return pd.concat(frames, ignore_index=True) if frames else make_frame("certified", {}, 0)


def _passes(graph: Graph) -> float:
    """Forward passes of one sample that full backward bounds at one radius are worth, from the shapes of the layers."""
    passes = float(_CHEAP_PASSES)
    for index in graph.activations[1:]:  # intervals are exact before the first
        shape = graph.nodes[graph.nodes[index].inputs[0]].shape
        share = _WINDOW_SHARE if len(shape) == 3 else _DENSE_SHARE
        passes += share * float(np.prod(shape)) * index / len(graph.nodes)
    return passes
