"""What an experiment measures and what it returns: tables, effects over seeds with an interval, and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import t


@dataclass(frozen=True)
class Effect:
    """One figure per seed, and which side of a bound the finding says it lies on.

    Attributes:
        what: The effect in words.
        values: The figure of every seed.
        side: Side of the bound.
        bound: The bound.
        published: The published figure.
        always: Whether every seed must lie there, as a theorem says, in place of their mean.
    """

    what: str
    values: list[float]
    side: Literal["above", "below"] = "above"
    bound: float = 0.0
    published: str = ""
    always: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean over seeds, by Student's t; the range over seeds of what must always hold."""
        if self.always:
            return float(np.min(self.values)), float(np.max(self.values))
        known = np.array(self.values)[np.isfinite(self.values)]
        if len(known) < 2:
            return (float("nan"),) * 2
        half = t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known))
        return float(known.mean() - half), float(known.mean() + half)

    @property
    def holds(self) -> bool:
        """Whether the whole interval lies on the side that the finding says."""
        low, high = self.interval
        return low > self.bound if self.side == "above" else high < self.bound

    def row(self) -> dict[str, Any]:
        """The effect as a row of a table."""
        low, high = self.interval
        return {
            "effect": self.what,
            "mean": float(np.nanmean(self.values)) if np.isfinite(self.values).any() else float("nan"),
            "95 % low": low,
            "95 % high": high,
            "expected": f"{'>' if self.side == 'above' else '<'} {self.bound:g}",
            "published": self.published,
            "verdict": "holds" if self.holds else "does not hold",
        }


@dataclass
class Outcome:
    """A finished experiment; figures and further tables by name."""

    table: pd.DataFrame
    effects: list[Effect]
    figures: dict[str, Any] = field(default_factory=dict)
    more: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A net and the images it is tested on.

    Attributes:
        name: Name of the net in settings.toml.
        net: The adapted classifier.
        x: Test images (n, ...), in [0, 1].
        y: Labels (n,).
        training: Loads the training images and labels; None where there are none.
    """

    name: str
    net: Any
    x: np.ndarray
    y: np.ndarray
    training: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Measured:
    """What was measured of every net and seed.

    Attributes:
        tables: Name → the tables of all units, with the columns `what` (variant of the settings), `net` and `seed`.
        folders: (what, net, seed) → the folder of the unit, where a run of `evaluate` lies.
        settings: The settings of the experiment.
    """

    tables: dict[str, pd.DataFrame]
    folders: dict[tuple[str, str, int], Path]
    settings: dict[str, Any]

    def groups(self, table: str) -> Iterator[tuple[str, pd.DataFrame]]:
        """The rows of each variant and net, under a title that tells them apart."""
        rows = self.tables[table]
        for (what, net), part in rows.groupby(["what", "net"], sort=False):
            yield ", ".join(str(name) for name in (net, what) if name), part.reset_index(drop=True)


def per_seed(table: pd.DataFrame, value: Callable[[pd.DataFrame], float]) -> list[float]:
    """A figure of each seed's rows."""
    return [float(value(part)) for _, part in table.groupby("seed")]
