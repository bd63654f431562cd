"""Hashes of arrays."""

from __future__ import annotations

from typing import Any

from .streaming import ContentHash


def content_hash(*arrays: Any) -> str:
    """Sixteen hexadecimal digits of the values, shapes and types of some arrays."""
    digest = ContentHash()
    for array in arrays:
        digest.array(array)
    return str(digest)
