"""Measurements of models and data before a run: zero gradients, batch dependence, loss options, distances.

The manifest stores them as numbers; `preconditions` turns them into findings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from .._utils.arrays import to_numpy
from .._utils.random import seeded_rng
from ..adapters import Adapter
from ..functional import distance
from ..typing import NORMS, Norm
from .zero_gradients import zero_gradients

_MOST_SAMPLES, _FEWEST_SAMPLES = 32, 8
_MOST_NUMBERS = 1 << 21
"""Maximum number of input values of all probed samples: 32 of 3×128×128, 13 of 3×224×224."""
_PAIRS = 8
"""Number of samples whose outputs are compared with those in a batch of the sample and a copy of it."""


class BatchDependence(NamedTuple):
    """How outputs depend on the other samples of the batch."""

    differs: np.ndarray
    """Whether a sample's logits differ in another batch, bool (m,), m at most n."""
    n_changed: int
    """Number of predictions, out of m, that differ."""


def probe_samples(n: int, size: int, shard_size: int = _MOST_SAMPLES) -> np.ndarray:
    """Evenly spaced samples for the probes.

    Args:
        n: Number of samples of the run.
        size: Numbers per sample.
        shard_size: Samples attacked together; no more are probed, to limit memory.

    Returns:
        Positions, int64, at most 32.
    """
    most = min(_MOST_SAMPLES, shard_size, max(_FEWEST_SAMPLES, _MOST_NUMBERS // max(1, size)))
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def probe_model(
    net: Adapter, x: np.ndarray, y: np.ndarray, samples: np.ndarray, *, gradients: bool, estimated: bool
) -> dict[str, Any]:
    """Measurements of a model on a few samples.

    Args:
        net: The adapted model.
        x: Inputs, shape (n, ...).
        y: Labels, int64 (n,).
        samples: Their ids, int64 (n,).
        gradients: Whether an attack of the run uses gradients.
        estimated: Whether defences without a gradient use the gradient estimate that they declare.

    Returns:
        JSON values: `n`; `zero_gradients`, ids of samples whose input gradient is exactly zero in the model's dtype
        (`own`) and in `float64`, null where there is no gradient; `loss_options`, texts.
    """
    inputs = torch.from_numpy(np.array(x)).to(net.device, net.dtype)
    labels = torch.from_numpy(np.array(y)).to(net.device)
    measured: dict[str, Any] = {"n": len(x), "loss_options": list(net.ignored_loss_options)}
    with seeded_rng(0, net.device), net.guard():
        measured["zero_gradients"] = (
            _zero_gradients(net, inputs, labels, samples, estimated) if gradients else None
        )
    return measured


def probe_batches(
    net: Adapter, x: np.ndarray, samples: np.ndarray, logits: np.ndarray
) -> dict[str, Any] | None:
    """Measurement of how a model's outputs depend on the other samples of the batch.

    Args:
        net: The adapted model; not a random one.
        x: Inputs, shape (n, ...).
        samples: Their ids, int64 (n,).
        logits: Its outputs for them in one batch, shape (n, k).

    Returns:
        JSON values: ids of `samples` whose logits depend on the batch, out of `n`, and `n_changed` predictions; None
        where the model fails on batches of two.
    """
    inputs = torch.from_numpy(np.array(x)).to(net.device, net.dtype)
    with seeded_rng(0, net.device), net.guard():
        batches = batch_dependence(net, inputs, torch.from_numpy(logits).to(net.device))
    if batches is None:
        return None
    dependent = samples[: len(batches.differs)][batches.differs].tolist()
    return {"samples": dependent, "n_changed": batches.n_changed, "n": len(batches.differs)}


def probe_data(x: np.ndarray) -> dict[str, Any]:
    """Range of some samples, and the largest distance between two of them in every norm (null for one sample).

    Args:
        x: Inputs, shape (n, ...).

    Returns:
        JSON values: `n, low, high, diameter`.
    """
    rows = torch.from_numpy(np.array(x)).double().flatten(1)
    diameter = {norm: _diameter(rows, norm) for norm in NORMS} if len(rows) > 1 else None
    return {"n": len(rows), "low": float(rows.min()), "high": float(rows.max()), "diameter": diameter}


def _diameter(rows: torch.Tensor, norm: Norm) -> float:
    """Largest distance between two of n rows, n at least 2."""
    farthest = [
        distance(rows[i].expand_as(rows[i + 1 :]), rows[i + 1 :], norm).max() for i in range(len(rows) - 1)
    ]
    return float(torch.stack(farthest).max())


def batch_dependence(net: Adapter, x: torch.Tensor, logits: torch.Tensor) -> BatchDependence | None:
    """Whether outputs in one batch equal those in batches of a single sample and a copy of it.

    The copy is there because many models cannot run on a batch of one. Differences within rounding are ignored.

    Args:
        net: The adapted model; not a random one.
        x: Samples on the device and in the dtype of `net`, shape (n, ...).
        logits: Its outputs for them in one batch, shape (n, k).

    Returns:
        The comparison for the first samples; None for a model that fails on batches of two.
    """
    few, together = x[:_PAIRS], logits[:_PAIRS].double()
    try:
        single = torch.cat([net.outputs(torch.stack([row, row])).logits[:1] for row in few]).double()
    except Exception:  # a model may raise any exception on a batch that it does not accept
        return None
    finite = together[torch.isfinite(together)]
    size = 1 + (float(finite.abs().max()) if len(finite) else 0.0)
    tolerance = size * max(1e-3, 16 * torch.finfo(net.dtype).eps)
    differs = _differ(together, single, tolerance)
    changed = (together.argmax(dim=1) != single.argmax(dim=1)) & differs
    return BatchDependence(to_numpy(differs), int(changed.sum()))


def _differ(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> torch.Tensor:
    return ~torch.isclose(one, other, rtol=0, atol=tolerance, equal_nan=True).all(dim=1)


def _zero_gradients(
    net: Adapter, x: torch.Tensor, y: torch.Tensor, samples: np.ndarray, estimated: bool
) -> dict[str, list[int]] | None:
    try:
        zero = zero_gradients(net, x, y, estimate_gradients=estimated)
    except Exception:  # a model or defence without a gradient: attacks that need one report it
        return None
    return {name: samples[to_numpy(mask)].tolist() for name, mask in zero._asdict().items()}
