"""The (δ, ε) surface: certified and empirical shares over all attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..records.model_records import ModelRows
from ..typing import Norm
from .cells import cells

SURFACE_EPSILONS: tuple[float, ...] = tuple(float(f"{e:.3g}") for e in np.logspace(-3, 1, 49))
"""Tolerated loss changes of a surface unless told otherwise: 49 from 0.001 to 10 nats, evenly spaced in log ε."""


def surface(
    tables: Mapping[str, pd.DataFrame],
    deltas: Mapping[Norm, Sequence[float]],
    epsilons: Sequence[float],
) -> pd.DataFrame:
    """The (δ, ε)-robust share of every model over all attacks; see `Results.surface`.

    Args:
        tables: The four tables.
        deltas: Norm → radii.
        epsilons: Tolerated loss changes, nats, increasing.

    Returns:
        One row per model, norm, δ and ε.
    """
    columns = ["model", "norm", "delta", "epsilon", "n_evaluated", "certified", "empirical"]
    parts = []
    for model in tables["models"]["model"]:
        rows = ModelRows(tables, str(model), "paper")
        everything = np.arange(rows.attack.size)
        for norm, radii in deltas.items():
            for delta, cell in cells(rows, everything, norm, radii, epsilons):
                share = {
                    "n_evaluated": cell["n_evaluated"],
                    "certified": [cell[f"certified@{e:g}"] for e in epsilons],
                    "empirical": [cell[f"loss_change_robustness@{e:g}"] for e in epsilons],
                }
                head = {"model": model, "norm": norm, "delta": delta, "epsilon": list(epsilons)}
                parts.append(pd.DataFrame({**head, **share}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
