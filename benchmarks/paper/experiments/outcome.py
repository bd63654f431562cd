"""What an experiment returns: a table, effects over seeds with an interval, and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import t


@dataclass(frozen=True)
class Effect:
    """One figure per seed, and which side of a bound the finding says it lies on."""

    what: str
    values: list[float]
    side: Literal["above", "below"] = "above"
    bound: float = 0.0
    published: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean over seeds, by Student's t."""
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
    """A net and the images it is tested on."""

    name: str
    net: Any
    x: np.ndarray
    y: np.ndarray

    def blocks(self, settings: dict[str, Any]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Seed, images and labels: every seed has a block of its own."""
        n = settings["n"]
        for seed in range(settings["seeds"]):
            part = slice(seed * n, (seed + 1) * n)
            if len(self.x[part]) == n:
                yield seed, self.x[part], self.y[part]
