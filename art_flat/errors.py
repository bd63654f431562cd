"""Exceptions of art_flat; each also derives from the builtin exception that fits.

Each message states the location, the expected and the actual value, and how to fix it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ArtFlatError(Exception):
    """Base class of all errors that art_flat raises deliberately."""


class InputError(ArtFlatError, ValueError):
    """An argument has the right type and an invalid value."""


class ParameterError(ArtFlatError, TypeError):
    """A function was called with a parameter it does not have."""


class UnknownNameError(InputError):
    """A norm, attack, suite or data set that does not exist; the message lists the closest known names."""

    def __init__(self, kind: str, name: object, known: Iterable[str], hint: str = "") -> None:
        self.name = name
        self.close = closest(str(name), known)
        listed = " or ".join(repr(n) for n in self.close) or "one of " + ", ".join(map(repr, sorted(known)))
        super().__init__(f"unknown {kind} {name!r}: did you mean {listed}?{' ' + hint if hint else ''}")


class HeadNotFoundError(ArtFlatError, ValueError):
    """The model has no linear last layer that art_flat can use."""


class UnsupportedEstimatorError(ArtFlatError, TypeError):
    """No adapter supports this estimator or one of its features."""


class UnsupportedLayerError(ArtFlatError, TypeError):
    """A layer or function of a net that cannot be bounded."""


class AttackNotUsableError(ArtFlatError, ValueError):
    """An attack cannot run: unsupported norm, classes or channels, or a missing package."""


class BudgetError(ArtFlatError, ValueError):
    """An adversarial point lies outside the ball or outside the clip range."""


class ModelChangedError(ArtFlatError, RuntimeError):
    """An attack changed the weights of the model it attacked."""


class ConfigError(ArtFlatError, ValueError):
    """A configuration file that is invalid or cannot be read."""


class StoreError(ArtFlatError, ValueError):
    """A results folder that cannot be read or belongs to another run."""


def closest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The known names closest in spelling to `name`, best first, ignoring case.

    Args:
        name: The requested name.
        known: The valid names.
        n: Maximum number of names.

    Returns:
        Up to `n` names, possibly none.

    >>> closest("torchatacks:pgd", ["torchattacks:PGD", "art:PGD", "art:DeepFool"], n=1)
    ['torchattacks:PGD']
    """
    by_lower = {k.lower(): k for k in known}
    return [by_lower[m] for m in difflib.get_close_matches(name.lower(), list(by_lower), n=n, cutoff=0.5)]
