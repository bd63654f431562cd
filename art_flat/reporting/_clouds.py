"""Scatter data of the report: a subset of the samples with the measurements of their adversarial points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..records import Records
from ..summaries import select
from ..summaries.selection import OUTCOMES, Selection
from ._gallery import gallery
from ._look import power_of_ten
from ._numbers import evenly_spaced_indices, short, shorts, to_ints

WORST_POINTS, ATTACK_POINTS = 15_000, 25_000
"""Maximum number of points on a page: of the worst cases, and of single attacks."""
MOST, FEWEST = 1500, 40
"""Maximum and minimum number of points of one figure."""
BOX = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of a box and its whiskers."""


class Cell(NamedTuple):
    """A model, a norm and a radius."""

    model: int
    norm: str
    delta: float


def cells_of(results: Records) -> list[Cell]:
    """Every model, norm and radius of a run."""
    return [
        Cell(m, str(norm), float(delta))
        for m in range(len(results.models))
        for norm, deltas in results.facts["deltas"].items()
        for delta in deltas
    ]


class ScatterData:
    """Collects points, and the clean quantities of the samples they belong to.

    Args:
        results: The run.
        definition: Definition of the relative sharpness κ.
    """

    def __init__(self, results: Records, definition: Any) -> None:
        self.cells = cells_of(results)
        self.attacks = [str(a["name"]) for a in results.facts["attacks"]]
        self.models = [str(m) for m in results.models["model"]]
        self.selections: list[Selection] = [select(results, m, definition) for m in self.models]
        self.clean: list[dict[int, list[Any]]] = [{} for _ in self.models]
        self.rows: list[dict[int, Any]] = [{} for _ in self.models]
        """Per model, rows of the adversarial table that the page shows, the most informative first."""
        n_cells = max(len(self.cells), 1)
        samples = sorted(int(s) for s in results.clean["sample"].unique())
        self.n_samples = len(samples)
        self._worst = self._subset(samples, WORST_POINTS // n_cells)
        self._single = self._subset(samples, ATTACK_POINTS // (n_cells * max(len(self.attacks), 1)))

    @staticmethod
    def _subset(samples: list[int], most: int) -> set[int]:
        return {samples[i] for i in evenly_spaced_indices(len(samples), min(max(most, FEWEST), MOST))}

    @property
    def stated(self) -> dict[str, int]:
        """Sizes of the subset, as the page states them."""
        return {"samples": self.n_samples, "worst": len(self._worst), "single": len(self._single)}

    def cell(self, cell: Cell) -> dict[str, Any]:
        """Clouds, boxes and gallery of a cell."""
        select = self.selections[cell.model]
        worst = select.worst(cell.norm, cell.delta)  # type: ignore[arg-type]
        kinds = gallery(select, cell.norm, cell.delta)
        shown = {kind: self._points(cell, rows, first=True) for kind, rows in kinds.items()}
        clouds = [{"attack": -1, **self._cloud(cell, worst, self._worst)}]
        boxes = []
        for number, attack in enumerate(self.attacks):
            attacked = select.worst(cell.norm, cell.delta, attack)  # type: ignore[arg-type]
            if len(attacked):
                clouds.append({"attack": number, **self._cloud(cell, attacked, self._single)})
                boxes.append({"attack": number, **_box(attacked)})
        return {"gallery": shown, "clouds": clouds, "boxes": boxes}

    def _cloud(self, cell: Cell, rows: pd.DataFrame, subset: set[int]) -> dict[str, Any]:
        counts = rows["outcome"].value_counts()
        chosen = rows[rows["sample"].isin(subset)]
        return {
            "n": len(rows),
            "outcomes": [int(counts.get(o, 0)) for o in OUTCOMES],
            "points": self._points(cell, chosen),
        }

    def _points(self, cell: Cell, rows: pd.DataFrame, *, first: bool = False) -> dict[str, list[Any]]:
        measured = self.clean[cell.model]
        before = power_of_ten(rows["log_kappa_clean"])
        columns = ("sample", "label", "pred_clean", "loss_clean", "confidence_clean")
        for (sample, label, pred, loss, confidence), kappa in zip(
            rows[list(columns)].itertuples(index=False), before, strict=True
        ):
            measured.setdefault(
                int(sample), [int(label), int(pred), short(loss), short(confidence, 5), short(kappa)]
            )
        if first:
            self.rows[cell.model].update(dict.fromkeys(to_ints(rows["row"])))
        index, source = ({n: i for i, n in enumerate(names)} for names in (self.attacks, self.models))
        return {
            "row": to_ints(rows["row"]),
            "sample": to_ints(rows["sample"]),
            "attack": [index.get(str(a), -1) for a in rows["attack"]],
            "source": [source.get(str(m), -1) for m in rows["source_model"]],
            "pred": to_ints(rows["pred_adv"]),
            "change": shorts(rows["loss_change"]),
            "confidence": shorts(rows["confidence_adv"], 5),
            "kappa": shorts(power_of_ten(rows["log_kappa_adv"])),
            "distance": shorts(rows["distance"]),
            "outcome": [OUTCOMES.index(o) for o in rows["outcome"]],
        }


def _box(rows: pd.DataFrame) -> dict[str, Any]:
    change = rows["loss_change"].to_numpy(float)
    with np.errstate(invalid="ignore"):
        ratio = power_of_ten(rows["log_kappa_adv"]) - power_of_ten(rows["log_kappa_clean"])
    boxes = {}
    for name, values in (("change", change), ("ratio", ratio)):
        values = values[np.isfinite(values)]
        boxes[name] = shorts(np.quantile(values, BOX)) if values.size else None
    return boxes
