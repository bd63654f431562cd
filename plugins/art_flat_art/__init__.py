"""ART's evasion attacks as attacks of art_flat."""

from ._table import attacks as attacks

__all__ = ["attacks"]
