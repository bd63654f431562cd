"""Requested attacks and radii that were not run, with the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from .._utils.formatting import norm_sign
from ..records import Records
from ..typing import Norm

COLUMNS = ["model", "attack", "norm", "delta", "reason"]

_NO_SAMPLE_LEFT = "the earlier attacks of its sequence fooled every sample"


def not_run(records: Records) -> pd.DataFrame:
    """Attacks without any measured point at a requested norm or radius, and norms without an attack.

    Args:
        records: The records of a run.

    Returns:
        Columns `model, attack, norm, delta, reason`; `attack` is None where no attack supports the norm, `delta` is
        NaN where the reason holds at every radius. Empty while units are missing.

    >>> from art_flat.testing import example_results
    >>> len(not_run(example_results()))
    0
    """
    models = [] if records.missing_units else records.model_names
    attacks, deltas = records.facts["attacks"], records.facts["deltas"]
    direct = records.adversarial[records.adversarial["model"] == records.adversarial["source_model"]]
    cells = dict(iter(direct.groupby(["model", "attack", "norm"], sort=False)))
    rows: list[tuple[Any, ...]] = []
    for model in models:
        rows += [(model, None, n, float("nan"), _unsupported(n)) for n in deltas if not _runs_in(n, attacks)]
        for attack in attacks:
            for norm in attack["run_in"] or deltas:
                cell = cells.get((model, attack["name"], norm))
                reasons = _reasons(cell, attack["name"], deltas[norm])
                rows += [(model, attack["name"], norm, delta, reason) for delta, reason in reasons]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"delta": float})


def _runs_in(norm: Norm, attacks: Sequence[Mapping[str, Any]]) -> bool:
    return any(norm in attack["run_in"] for attack in attacks)


def _unsupported(norm: Norm) -> str:
    return f"none of the attacks supports {norm_sign(norm)}"


def _reasons(cell: pd.DataFrame | None, attack: str, radii: Sequence[float]) -> Iterator[tuple[float, str]]:
    """Radii without measurements (NaN for all radii), with the reasons."""
    if cell is None:
        yield float("nan"), _NO_SAMPLE_LEFT if " @" in attack else "the records have no unit of it"
    elif not cell["status"].isin(["ok", "fallback"]).any():
        yield float("nan"), "; ".join(dict.fromkeys(cell["error"].dropna().astype(str)))
    elif cell["delta"].notna().all():
        for delta in sorted(set(radii) - set(cell["delta"].astype(float))):
            yield delta, _NO_SAMPLE_LEFT
