"""Differences between two nested mappings, such as two configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONGEST_VALUE = 300
"""Maximum number of characters of a value in a message."""


def differences(
    before: Any, now: Any, where: str = "", words: tuple[str, str] = ("there", "now")
) -> list[str]:
    """Differences between two nested mappings, one line each; `words` name the two."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = sorted({*before, *now})
        return [
            d
            for k in keys
            for d in differences(before.get(k), now.get(k), f"{where}.{k}" if where else str(k), words)
        ]
    return [] if before == now else [f"{where}: {_short(before)} {words[0]}, {_short(now)} {words[1]}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
