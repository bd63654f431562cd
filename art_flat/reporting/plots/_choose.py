"""Selection of the model, norm, radius and rows that a figure shows."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..._utils.validation import check_delta, check_norm
from ...errors import InputError
from ...records import Records
from ...summaries import select


def choose_model(results: Records, model: str | None) -> str:
    """The model asked for, or the only one.

    Returns:
        Its name.

    Raises:
        InputError: If there is no such model, or several and none was asked for.
    """
    return select(results, model).model


def choose_norm(results: Records, norm: Any) -> Any:
    """The norm asked for, or the first of the run.

    Returns:
        The norm.

    Raises:
        InputError: If the run has no radius in that norm.
    """
    known = list(results.facts["deltas"])
    chosen = known[0] if norm is None else check_norm(norm)
    if chosen not in known:
        raise InputError(f"the run has no radius in {chosen}; choose one of {', '.join(known)}")
    return chosen


def choose_delta(results: Records, norm: Any, delta: float | None) -> float:
    """The radius asked for, or the largest of the run in that norm.

    Returns:
        The radius, clip units.

    Raises:
        InputError: If the run has no such radius.
    """
    known = [float(d) for d in results.facts["deltas"][norm]]
    chosen = max(known) if delta is None else check_delta(delta)
    if chosen not in known:
        raise InputError(
            f"the run has no radius δ = {chosen:.6g} in {norm}; choose one of {', '.join(f'{d:.6g}' for d in known)}"
        )
    return chosen


def choose_cell(
    results: Records, model: str | None, norm: Any, delta: float | None
) -> tuple[str, Any, float]:
    """The model, norm and radius asked for, or those that stand for what was left out.

    Returns:
        All three.
    """
    norm = choose_norm(results, norm)
    return choose_model(results, model), norm, choose_delta(results, norm, delta)


def select_one_group(table: pd.DataFrame, what: str, **keys: Any) -> pd.DataFrame:
    """The rows of a table with the given keys; a key of None must have one value only, or the first is taken.

    Returns:
        The rows.

    Raises:
        InputError: If no row is left.
    """
    part = table
    for column, value in keys.items():
        if column not in part or part.empty:
            continue
        wanted = part[column].iloc[0] if value is None else value
        part = part[part[column] == wanted] if pd.notna(wanted) else part[part[column].isna()]
    if part.empty:
        asked = ", ".join(f"{k}={v!r}" for k, v in keys.items() if v is not None)
        raise InputError(f"{what}: no row{f' with {asked}' if asked else ''}")
    return part
