"""What the earlier places of a sequence leave to the later ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from .grid import Unit


def left_over(
    unit: Unit, earlier: Iterable[pd.DataFrame], samples: np.ndarray, label: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """The samples of a unit that are right when clean and that no earlier place turned wrong inside its ball.

    Args:
        unit: A unit with a place in a sequence.
        earlier: The adversarial rows of the units in `unit.after`; what failed or was skipped broke nothing.
        samples: Ids of the unit's m samples.
        label: Their labels (m,).
        right: Whether the model is right on them (m,).

    Returns:
        Positions among these m.
    """
    left, order = right.copy(), np.argsort(samples)
    for frame in earlier:
        own = frame[(frame["model"] == unit.model) & (frame["source_model"] == unit.model)]
        at = order[np.searchsorted(samples, own["sample"].to_numpy(np.int64), sorter=order)]
        pred = own["pred"].to_numpy(dtype=np.int64, na_value=-1)
        with np.errstate(invalid="ignore"):
            inside = own[unit.norm.lower()].to_numpy(float) <= (np.inf if unit.delta is None else unit.delta)
        left[at[inside & (pred != label[at])]] = False
    return np.flatnonzero(left)
