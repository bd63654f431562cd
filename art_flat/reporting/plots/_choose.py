"""Selection of the model, norm, radius and rows that a figure shows."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..._utils.numbers import check_delta
from ..._utils.validation import check_norm
from ...errors import InputError
from ...records import Records
from ...summaries import select


def choose_model(results: Records, model: str | None) -> str:
    """The requested model, or the only one.

    Returns:
        Its name.

    Raises:
        InputError: If there is no such model, or there are several and none was requested.
    """
    return select(results, model).model


def choose_norm(results: Records, norm: Any) -> Any:
    """The requested norm, or the first of the run.

    Returns:
        The norm.

    Raises:
        InputError: If the run has no radius in that norm.
    """
    available = list(results.facts["deltas"])
    chosen = available[0] if norm is None else check_norm(norm)
    if chosen not in available:
        raise InputError(f"the run has no radius in {chosen}; choose one of {', '.join(available)}")
    return chosen


def choose_delta(results: Records, norm: Any, delta: float | None) -> float:
    """The requested radius, or the largest of the run in that norm.

    Returns:
        The radius, clip units.

    Raises:
        InputError: If the run has no such radius.
    """
    available = [float(d) for d in results.facts["deltas"][norm]]
    chosen = max(available) if delta is None else check_delta(delta)
    if chosen not in available:
        raise InputError(
            f"the run has no radius δ = {chosen:.6g} in {norm}; choose one of "
            + ", ".join(f"{d:.6g}" for d in available)
        )
    return chosen


def choose_cell(
    results: Records, model: str | None, norm: Any, delta: float | None
) -> tuple[str, Any, float]:
    """The requested model, norm and radius, with the defaults of the functions above.

    Returns:
        All three.
    """
    norm = choose_norm(results, norm)
    return choose_model(results, model), norm, choose_delta(results, norm, delta)


def select_one_group(table: pd.DataFrame, what: str, **keys: Any) -> pd.DataFrame:
    """The rows of a table with the given keys; a key of None stands for the first value.

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
        requested = ", ".join(f"{k}={v!r}" for k, v in keys.items() if v is not None)
        raise InputError(f"{what}: no row{f' with {requested}' if requested else ''}")
    return part
