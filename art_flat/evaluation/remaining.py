"""Samples that remain after earlier units: for later steps of a sequence, or for certificates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from .grid import CertificateUnit, Unit


class Goal(NamedTuple):
    """The goal of an attack: a wrong prediction, or the target class if there is one."""

    label: np.ndarray
    """True labels (m,)."""
    target: np.ndarray | None
    """Target classes (m,); None if untargeted."""

    def is_reached(self, at: np.ndarray | slice, pred: np.ndarray) -> np.ndarray:
        """Whether predictions for the samples at some positions reach the goal."""
        reached: np.ndarray = pred != self.label[at] if self.target is None else pred == self.target[at]
        return reached


def remaining_samples(
    unit: Unit, earlier: Iterable[pd.DataFrame], samples: np.ndarray, goal: Goal, clean_pred: np.ndarray
) -> np.ndarray:
    """The samples of a unit on which neither the clean point nor an earlier step reached the goal inside the ball.

    Args:
        unit: A unit of a sequence.
        earlier: The adversarial rows of the units in `unit.depends_on`; failed and skipped rows do not count.
        samples: Ids of the unit's m samples.
        goal: The goal of the attacks on these samples.
        clean_pred: The model's predictions at their clean points (m,).

    Returns:
        Positions among these m.
    """
    remains, order = ~goal.is_reached(slice(None), clean_pred), np.argsort(samples)
    for frame in earlier:
        direct = frame[(frame["model"] == unit.model) & (frame["source_model"] == unit.model)]
        at = order[np.searchsorted(samples, direct["sample"].to_numpy(np.int64), sorter=order)]
        pred = direct["pred"].to_numpy(dtype=np.int64, na_value=-1)
        with np.errstate(invalid="ignore"):
            inside = direct[unit.norm.lower()].to_numpy(float) <= (
                np.inf if unit.delta is None else unit.delta
            )
        remains[at[inside & goal.is_reached(at, pred)]] = False
    return np.flatnonzero(remains)


def unbroken_samples(
    unit: CertificateUnit,
    earlier: Iterable[pd.DataFrame],
    samples: np.ndarray,
    clean_loss: np.ndarray,
    epsilon: float,
) -> np.ndarray:
    """The samples whose loss no point of earlier units within the ball raises by more than ε.

    Args:
        unit: The unit of the certificates.
        earlier: The adversarial rows of the units in `unit.depends_on`.
        samples: Ids of the unit's m samples.
        clean_loss: Their losses at the clean points, nats (m,); a sample with an undefined loss counts as broken.
        epsilon: ε, nats.

    Returns:
        Bool (m,).
    """
    remains: np.ndarray = ~np.isnan(clean_loss)
    order = np.argsort(samples)
    for frame in earlier:
        direct = frame[frame["model"] == unit.model]
        at = order[np.searchsorted(samples, direct["sample"].to_numpy(np.int64), sorter=order)]
        with np.errstate(invalid="ignore"):
            inside = direct[unit.norm.lower()].to_numpy(float) <= unit.delta
            within_epsilon = direct["loss"].to_numpy(float) - clean_loss[at] <= epsilon
        remains[at[inside & ~within_epsilon]] = False
    return remains
