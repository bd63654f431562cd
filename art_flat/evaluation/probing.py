"""A model's fingerprint: its outputs on seeded inputs and on the first samples of a run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .._utils.arrays import to_numpy, to_tensor
from .._utils.random import seeded_rng
from ..adapters import Adapter
from ..records.fingerprint import Fingerprint, _gap

N_PROBES = 8
"""Number of seeded inputs, and of first samples, in a fingerprint."""


def fingerprint(net: Adapter, samples: np.ndarray) -> Fingerprint:
    """The outputs of a model on seeded inputs of its clip range and on the first samples.

    Args:
        net: The model; it is not changed.
        samples: Clean inputs of the run, shape (n, ...); the first `N_PROBES` are used.

    Returns:
        Its outputs.
    """
    first = to_tensor(np.array(samples[:N_PROBES]))
    probes = [_seeded(net, first), first]
    logits, features, dtypes = _forward(net, probes, seed=0)
    again, features_again, _ = _forward(net, probes, seed=1)
    tolerance = math.sqrt(max(torch.finfo(t).eps for t in {net.dtype, *dtypes}))
    change = max(_gap(logits, again), _gap(features, features_again))
    return Fingerprint(logits, features, tolerance, change)


def _seeded(net: Adapter, samples: Tensor) -> Tensor:
    # Evenly from the clip range, or from the range of the samples where that is infinite or unknown
    low, high = (to_tensor(v, dtype=torch.float64) for v in net.clip_values or (math.inf, math.inf))
    if not bool(torch.isfinite(high - low).all()):
        low, high = samples.double().min(), samples.double().max()
    generator = torch.Generator().manual_seed(0)
    share = torch.rand((N_PROBES, *net.input_shape), generator=generator, dtype=torch.float64)
    inputs = low + share * (high - low)
    return torch.minimum(
        torch.maximum(inputs.to(samples.dtype), low.to(samples.dtype)), high.to(samples.dtype)
    )


def _forward(
    net: Adapter, probes: list[Tensor], seed: int
) -> tuple[np.ndarray, np.ndarray, set[torch.dtype]]:
    with net.guard(), seeded_rng(seed, net.device), full_precision():
        outputs = [net.outputs(x) for x in probes]
    logits, features = (
        np.concatenate([to_numpy(t.double()) for t in column]) for column in zip(*outputs, strict=True)
    )
    return logits, features, {t.dtype for out in outputs for t in out}


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute with all bits of float32 in the block; TF32, which some devices use, keeps 10 of its 23."""
    before = torch.get_float32_matmul_precision()
    with torch.backends.cudnn.flags(allow_tf32=False):
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
