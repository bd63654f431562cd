"""Certified bounds on the increase of the loss in a ball, for any attack.

Features move by at most t = L δ in a ball of radius δ, and the loss by at most the bound at t. The certificate is for
the network in real arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from .. import functional as F
from .._utils.arrays import to_numpy
from ..adapters import Adapter
from ..adapters.base import Outputs
from ..records.schema import make_frame
from ..typing import Norm
from .radii import Deltas

KIND: F.BoundKind = "best"
"""Kind of the certified bound: the smallest of the sound ones."""


def certified_rows(
    name: str,
    net: Adapter,
    outputs: Outputs,
    labels: torch.Tensor,
    samples: np.ndarray,
    deltas: Deltas,
    constants: Mapping[Norm, F.LipschitzBound],
) -> pd.DataFrame:
    """Rows of the `certified` table: the bound on the loss increase at every norm and δ with a constant.

    Args:
        name: The model's name.
        net: The adapted model.
        outputs: Its logits and features at the clean points.
        labels: True labels, int64 (n,).
        samples: Sample ids (n,).
        deltas: Norm → radii.
        constants: Norm → Lipschitz constant.

    Returns:
        One row per sample, norm and δ.
    """
    logits, features = outputs.logits.double(), outputs.features.double()
    weight, labels = net.head.weight.double(), labels.to(logits.device)
    frames = []
    for norm, constant in constants.items():
        for delta in deltas[norm]:
            radius = float(np.nextafter(constant.value * delta, np.inf))
            bound = F.loss_increase_bound(logits, features, weight, labels, radius=radius, kind=KIND)
            columns = {
                "model": name,
                "sample": samples,
                "norm": norm,
                "delta": delta,
                "kind": KIND,
                "lipschitz": constant.kind,
                "loss_increase_bound": to_numpy(bound),
            }
            frames.append(make_frame("certified", columns, len(samples)))
    return pd.concat(frames, ignore_index=True) if frames else make_frame("certified", {}, 0)
