"""A fingerprint of the function that a model computes, from its outputs on a few fixed inputs.

Hashes of weights and code miss a replaced activation, a plain attribute, a global variable and a buffer that is
not saved. Outputs reveal these, but their rounding depends on the machine. So they are stored with a run and
compared with a tolerance; they never enter a hash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

_SMALL_ROW = 1e-2
"""Rows below this share of the largest number are compared on that scale: rounding errors of large sums reach them."""


class Fingerprint(NamedTuple):
    """Outputs of a model on the probe inputs.

    Attributes:
        logits: Shape (m, k), float64.
        features: Shape (m, d), float64.
        tolerance: Accepted difference between two machines, relative to the largest number of a row: half of the digits
            of the model's dtype.
        self_difference: Largest relative difference between two passes over the same inputs.
    """

    logits: np.ndarray
    features: np.ndarray
    tolerance: float
    self_difference: float

    @property
    def is_random(self) -> bool:
        """Whether two passes over the same inputs differ by more than rounding."""
        return not self.self_difference <= self.tolerance


def difference(one: Fingerprint, other: Fingerprint) -> float | None:
    """Difference between two models, relative to the size of their outputs.

    Args:
        one: Outputs of the first model.
        other: Outputs of the second model.

    Returns:
        The largest relative difference of logits and features, inf where shapes or non-finite values differ; None if
        the difference is within rounding.
    """
    gap = max(_gap(one.logits, other.logits), _gap(one.features, other.features))
    return None if gap <= max(one.tolerance, other.tolerance) else gap


def different_functions(
    before: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint], words: tuple[str, str]
) -> list[str]:
    """Why the records of two sets of models must not be mixed.

    Args:
        before: Model name → its outputs when the records were made.
        now: The same names → outputs of the current models.
        words: Names of the two sets in messages, such as `("there", "now")`.

    Returns:
        One line per model that is random or a different function; empty if all are the same.
    """
    return [line for name in sorted({*before, *now}) if (line := _conflict(name, before, now, words))]


def _conflict(
    name: str, before: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint], words: tuple[str, str]
) -> str | None:
    if name not in before or name not in now:
        return f"model {name!r}: only {words[name not in before]}"
    one, other = before[name], now[name]
    if one.is_random or other.is_random:
        change = max(one.self_difference, other.self_difference)
        return (
            f"model {name!r} is random: two passes over the same inputs differ by {change:.2g} of their size, so its "
            "records cannot be continued"
        )
    gap = difference(one, other)
    if gap is None:
        return None
    return (
        f"model {name!r} is a different function with the same weights and code: on fixed probe inputs, its outputs "
        f"{words[0]} and {words[1]} differ by {gap:.2g} of their size ({one.tolerance:.1g} is rounding). Compare "
        "activations, normalisation, attributes and globals"
    )


def random_models(fingerprints: Mapping[str, Fingerprint]) -> dict[str, float | None]:
    """Models whose outputs differ between two passes, as the manifest lists them.

    Args:
        fingerprints: Model name → outputs.

    Returns:
        Model name → difference relative to the size of its outputs; None where only one pass was finite.
    """
    random = {name: f.self_difference for name, f in fingerprints.items() if f.is_random}
    return {name: gap if math.isfinite(gap) else None for name, gap in random.items()}


def to_arrays(fingerprints: Mapping[str, Fingerprint]) -> dict[str, np.ndarray]:
    """Fingerprints as named arrays, for a file.

    Args:
        fingerprints: Model name → outputs.

    Returns:
        `<field>/<model>` → array.
    """
    return {
        f"{field}/{name}": np.asarray(value, dtype=np.float64)
        for name, fingerprint in fingerprints.items()
        for field, value in fingerprint._asdict().items()
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, Fingerprint]:
    """The inverse of `to_arrays`.

    Args:
        arrays: `<field>/<model>` → array.

    Returns:
        Model name → outputs.

    Raises:
        KeyError: If a field is missing.
        ValueError: If a scalar field is not a number.
    """
    names = [key.split("/", 1)[1] for key in arrays if key.startswith("logits/")]
    return {
        name: Fingerprint(
            arrays[f"logits/{name}"],
            arrays[f"features/{name}"],
            arrays[f"tolerance/{name}"].item(),
            arrays[f"self_difference/{name}"].item(),
        )
        for name in names
    }


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two arrays (m, d), relative to the largest number of its row; equal NaN count as equal."""
    finite = np.isfinite(one)
    if one.shape != other.shape or not np.array_equal(
        np.where(finite, 0, one), np.where(np.isfinite(other), 0, other), equal_nan=True
    ):
        return math.inf
    a, b = np.where(finite, one, 0), np.where(finite, other, 0)
    size = np.maximum(np.abs(a), np.abs(b)).max(axis=1, initial=0)
    size = np.maximum(size, _SMALL_ROW * size.max(initial=0))
    change = np.abs(a - b).max(axis=1, initial=0)
    return float(np.divide(change, size, out=np.zeros_like(change), where=size > 0).max(initial=0))
