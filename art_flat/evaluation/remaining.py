"""Samples that earlier units leave to later ones: to the next of a sequence, or to certificates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from .grid import CertificateUnit, Unit


class Goal(NamedTuple):
    """What an attack is after: a wrong prediction, or the target where there is one."""

    label: np.ndarray
    """True labels (m,)."""
    target: np.ndarray | None
    """Target classes (m,); None if untargeted."""

    def is_reached(self, at: np.ndarray | slice, pred: np.ndarray) -> np.ndarray:
        """Whether predictions for the samples at some positions are what the attack is after."""
        reached: np.ndarray = pred != self.label[at] if self.target is None else pred == self.target[at]
        return reached


def remaining_samples(
    unit: Unit, earlier: Iterable[pd.DataFrame], samples: np.ndarray, goal: Goal, clean_pred: np.ndarray
) -> np.ndarray:
    """The samples of a unit on which neither the clean point nor an earlier place reached the goal inside the ball.

    Args:
        unit: A unit with a place in a sequence.
        earlier: The adversarial rows of the units in `unit.depends_on`; what failed or was skipped broke nothing.
        samples: Ids of the unit's m samples.
        goal: What the attacks are after on these samples.
        clean_pred: The model's predictions at their clean points (m,).

    Returns:
        Positions among these m.
    """
    left, order = ~goal.is_reached(slice(None), clean_pred), np.argsort(samples)
    for frame in earlier:
        own = frame[(frame["model"] == unit.model) & (frame["source_model"] == unit.model)]
        at = order[np.searchsorted(samples, own["sample"].to_numpy(np.int64), sorter=order)]
        pred = own["pred"].to_numpy(dtype=np.int64, na_value=-1)
        with np.errstate(invalid="ignore"):
            inside = own[unit.norm.lower()].to_numpy(float) <= (np.inf if unit.delta is None else unit.delta)
        left[at[inside & goal.is_reached(at, pred)]] = False
    return np.flatnonzero(left)


def unbroken_samples(
    unit: CertificateUnit,
    earlier: Iterable[pd.DataFrame],
    samples: np.ndarray,
    clean_loss: np.ndarray,
    epsilon: float,
) -> np.ndarray:
    """The samples whose loss no point of earlier units within the ball raises by more than ε.

    Args:
        unit: The certificates.
        earlier: The adversarial rows of the units in `unit.depends_on`.
        samples: Ids of the unit's m samples.
        clean_loss: Their losses at the clean points, nats (m,); where undefined, a sample counts as broken.
        epsilon: ε, nats.

    Returns:
        Bool (m,).
    """
    left: np.ndarray = ~np.isnan(clean_loss)
    order = np.argsort(samples)
    for frame in earlier:
        own = frame[frame["model"] == unit.model]
        at = order[np.searchsorted(samples, own["sample"].to_numpy(np.int64), sorter=order)]
        with np.errstate(invalid="ignore"):
            inside = own[unit.norm.lower()].to_numpy(float) <= unit.delta
            kept = own["loss"].to_numpy(float) - clean_loss[at] <= epsilon
        left[at[inside & ~kept]] = False
    return left
