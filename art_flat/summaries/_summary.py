"""From records to the summary table: per model, attack, norm and δ; no model is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..records.model_records import ALL_ATTACKS as ALL_ATTACKS
from ..records.model_records import CONFIDENT as CONFIDENT
from ..records.model_records import ModelRows
from ..records.model_records import log_kappa as log_kappa
from ..records.model_records import loss_rounding as loss_rounding
from ..typing import Definition, Norm
from .cells import cells


def summarise(
    tables: Mapping[str, pd.DataFrame],
    attacks: Sequence[Mapping[str, Any]],
    deltas: Mapping[Norm, Sequence[float]],
    epsilons: Sequence[float],
    definition: Definition,
) -> pd.DataFrame:
    """One row per model, attack, norm and δ, and one over all attacks; see `Results.summary` for the columns.

    Args:
        tables: The four tables.
        attacks: What the environment file says of each attack, in order.
        deltas: Norm → radii.
        epsilons: Tolerated loss changes, nats.
        definition: Which relative sharpness.

    Returns:
        The summary.
    """
    found: list[dict[str, Any]] = []
    facts = {a["name"]: a for a in attacks}
    for model in tables["models"]["model"]:
        rows = ModelRows(tables, str(model), definition)
        for norm, radii in deltas.items():
            for chosen, keys in rows.groups(norm, list(facts)):
                loss = any(facts[a]["maximises_loss"] for a in rows.attacks_of(chosen))
                head = {"model": model, **keys, "norm": norm}
                found += [
                    {**head, "delta": delta, "maximises_loss": loss, **cell}
                    for delta, cell in cells(rows, chosen, norm, radii, epsilons)
                ]
    return pd.DataFrame(found)
