"""The summary table from records, per model, attack, norm and δ; no model is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from .._utils.numbers import check_epsilons
from .._utils.validation import check_definition
from ..records import Records
from ..typing import Definition
from .cells import cells
from .columns import main_first


def summarise(
    records: Records, epsilons: Sequence[float] | None = None, definition: Definition = "paper"
) -> pd.DataFrame:
    """One row per model, attack, norm and δ, and one over all attacks; see `Results.summary` for the columns.

    Args:
        records: The records of a run.
        epsilons: Tolerated loss changes, nats; those of the run if None.
        definition: Definition of the relative sharpness κ.

    Returns:
        The summary.

    Raises:
        InputError: If an ε is negative.
        UnknownNameError: If the definition is unknown.

    >>> from art_flat.testing import example_results
    >>> summarise(example_results(), [0.1])["robust_accuracy"].tolist()  # two attacks and the worst of both
    [1.0, 0.5, 1.0, 1.0, 1.0, 0.5]
    """
    levels = records.facts["epsilons"] if epsilons is None else check_epsilons(epsilons)
    definition = check_definition(definition)
    summary_rows: list[dict[str, Any]] = []
    attacks = {a["name"]: a for a in records.facts["attacks"]}
    for model in records.model_names:
        rows = records.of_model(model, definition)
        for norm, radii in records.facts["deltas"].items():
            for chosen, keys in rows.groups(norm, list(attacks)):
                loss = any(attacks[a]["maximises_loss"] for a in rows.attacks_of(chosen))
                head = {"model": model, **keys, "norm": norm}
                earlier = rows.earlier_stages(**keys)
                summary_rows += [
                    {**head, "delta": delta, "maximises_loss": loss, **cell}
                    for delta, cell in cells(
                        rows, chosen, norm, radii, levels, earlier if earlier.size else None
                    )
                ]
    return main_first(pd.DataFrame(summary_rows))
