"""The (δ, ε) surface: certified and empirical shares over all attacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .._utils.numbers import check_epsilons
from ..records import Records
from .cells import cells

SURFACE_EPSILONS: tuple[float, ...] = tuple(float(f"{e:.3g}") for e in np.logspace(-3, 1, 49))
"""Default tolerated loss changes of a surface: 49 from 0.001 to 10 nats, evenly spaced in log ε."""


def surface(records: Records, epsilons: Sequence[float] | None = None) -> pd.DataFrame:
    """The (δ, ε)-robust share of every model over all attacks; see `Results.surface`.

    Args:
        records: The records of a run.
        epsilons: Tolerated loss changes, nats; `SURFACE_EPSILONS` if None.

    Returns:
        One row per model, norm, δ and ε.

    Raises:
        InputError: If an ε is negative.

    >>> from art_flat.testing import example_results
    >>> surface(example_results(), [0.1]).columns.tolist()
    ['model', 'norm', 'delta', 'epsilon', 'n_evaluated', 'certified', 'empirical', 'bound_kind']
    """
    levels = SURFACE_EPSILONS if epsilons is None else check_epsilons(epsilons)
    columns = ["model", "norm", "delta", "epsilon", "n_evaluated", "certified", "empirical", "bound_kind"]
    parts = []
    for model in records.model_names:
        rows = records.of_model(model)
        all_rows = np.arange(rows.attack.size)
        for norm, radii in records.facts["deltas"].items():
            for delta, cell in cells(rows, all_rows, norm, radii, levels):
                share = {
                    "n_evaluated": cell["n_evaluated"],
                    "certified": [cell[f"certified@{e:g}"] for e in levels],
                    "empirical": [cell[f"loss_change_robustness@{e:g}"] for e in levels],
                    "bound_kind": cell["bound_kind"],
                }
                head = {"model": model, "norm": norm, "delta": delta, "epsilon": list(levels)}
                parts.append(pd.DataFrame({**head, **share}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
