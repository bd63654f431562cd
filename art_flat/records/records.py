"""`Records`: the four tables of a run and its metadata, frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from .._utils.formatting import counted
from .._utils.validation import check_definition
from ..errors import InputError, StoreError, UnknownNameError
from ..typing import Definition
from .model_records import ModelRecords, log_kappa
from .points import RERUN_HINT, Points, Saved
from .run_folder import IN_UNITS
from .schema import ADVERSARIAL, CLEAN, TABLES
from .store import Store

_SAVED = "records"
"""Key of the single unit written by `save`."""

_KEYS = ("model", "source_model", "attack", "norm", "delta", "seed", "target", "sample")


@dataclass(frozen=True, eq=False, repr=False)
class Records:
    """The tables of a run; treat them as read-only, since views of them are cached.

    Attributes:
        models: One row per model.
        clean: One row per model and sample.
        adversarial: One row per model, sample, attack, norm, δ, seed, source model and target; sorted by these.
        certified: One row per model, sample, norm, δ and kind of bound.
        facts: Versions, seeds, attacks and radii of the run; kept as `manifest.json`.
        folder: The results folder; None for a run in memory.
        points: The saved points; None if they were not saved.
        missing_units: Number of units missing from the folder, because the run is going on, was interrupted, or
            is one of several parts.
    """

    models: pd.DataFrame
    clean: pd.DataFrame
    adversarial: pd.DataFrame
    certified: pd.DataFrame
    facts: Mapping[str, Any]
    folder: Path | None = None
    points: Points | None = None
    missing_units: int = 0
    _views: dict[tuple[str, Definition], ModelRecords] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        order = {a["name"]: i for i, a in enumerate(self.facts["attacks"])}
        rows = self.adversarial.sort_values(
            list(_KEYS),
            key=lambda c: c.map(order).fillna(len(order)) if c.name == "attack" else c,
            ignore_index=True,
            kind="stable",
        )
        object.__setattr__(self, "adversarial", rows)

    def __repr__(self) -> str:
        rows = f"{counted(len(self.adversarial), 'adversarial row')} of {counted(self.facts['n_samples'], 'sample')}"
        n_models, n_attacks = len(self.models), len(self.facts["attacks"])
        return (
            f"<{type(self).__name__}: {counted(n_models, 'model')}, {counted(n_attacks, 'attack')}, {rows}>"
        )

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The four tables by name."""
        return {table: getattr(self, table) for table in TABLES}

    @property
    def total_units(self) -> int:
        """Number of units of the whole run, including missing ones."""
        n_units: int = self.facts.get("total_units", self.facts.get("n_units", 0))
        return max(n_units, self.missing_units + int(self.adversarial["unit"].nunique()))

    @property
    def has_points(self) -> bool:
        """Whether the points were saved: `evaluate(..., save_adversarial=True)`."""
        return self.points is not None

    @property
    def model_names(self) -> list[str]:
        """Names of the models, in the order of the run."""
        return [str(name) for name in self.models["model"]]

    def only_model(self, name: str | None) -> str:
        """The name of a model, validated.

        Args:
            name: The name; None for the only model.

        Returns:
            The name.

        Raises:
            UnknownNameError: If there is no such model.
            InputError: If there are several models and no name.
        """
        names = self.model_names
        if name is None:
            if len(names) != 1:
                raise InputError(f"`model` must be one of {', '.join(map(repr, names))}; none was given")
            return names[0]
        if name not in names:
            raise UnknownNameError("model", name, names)
        return name

    def of_model(self, model: str, definition: Definition = "paper") -> ModelRecords:
        """The rows of one model as arrays; computed once and cached.

        Args:
            model: Its name.
            definition: Definition of the relative sharpness κ.

        Returns:
            The view.
        """
        key = (model, definition)
        if key not in self._views:
            self._views[key] = ModelRecords(self.tables, model, definition)
        return self._views[key]

    def joined(self, definition: Definition = "paper") -> pd.DataFrame:
        """One row per adversarial point, joined with its clean point; see `Results.records`."""
        definition = check_definition(definition)
        shared = [c for c in CLEAN if c in ADVERSARIAL and c not in ("model", "sample")]
        adv = self.adversarial.rename(columns={c: f"{c}_adv" for c in shared})
        clean = self.clean.rename(columns={c: f"{c}_clean" for c in shared})
        frame = adv.merge(clean, on=["model", "sample"], how="left", validate="many_to_one")
        norms = self.models.set_index("model")["weight_norm"]
        norm = frame["model"].map(norms).to_numpy(float)
        for side in ("clean", "adv"):
            trace, neuronwise = (
                frame[f"{c}_{side}"].to_numpy(float) for c in ("log_trace", "log_kappa_neuronwise")
            )
            frame[f"log_kappa_{side}"] = log_kappa(trace, neuronwise, norm, definition)
            frame[f"kappa_{side}"] = np.exp(frame[f"log_kappa_{side}"])
        frame["loss_change"] = frame["loss_adv"] - frame["loss_clean"]
        frame["definition"] = definition
        frame.attrs["definition"] = definition
        return frame

    def clean_points(self, samples: Any) -> np.ndarray:
        """Clean points of some samples.

        Args:
            samples: Sample ids, shape (m,).

        Returns:
            Shape (m, ...), in clip units and in the order of `samples`.

        Raises:
            StoreError: If the run saved no points, or has no such sample.
        """
        return self._saved_points().clean(samples)

    def adversarial_points(self, rows: pd.DataFrame) -> np.ndarray:
        """Adversarial points of some rows of `adversarial` or of the joined table.

        Args:
            rows: m rows with columns `unit` and `sample`.

        Returns:
            Shape (m, ...), in clip units and in the order of the rows; the clean point where a row failed because
            its point was not finite.

        Raises:
            StoreError: If the run saved no points, or none for these rows (their unit failed).
        """
        return self._saved_points().adversarial(rows)

    def _saved_points(self) -> Points:
        if self.points is None:
            raise StoreError(f"the points of this run were not saved; {RERUN_HINT}")
        return self.points

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a folder written by `save` or by `evaluate(..., out=folder)`.

        Args:
            folder: The results folder.

        Returns:
            The records.

        Raises:
            StoreError: If the folder holds no results, or they are damaged or of a different version.
        """
        store = Store(folder)
        facts = store.read_manifest()
        balls = facts["certificate_units"]
        units = {table: store.read_table(table, [*facts["clean_units"], *balls]) for table in IN_UNITS}
        done = sum(1 for _ in store.units("adversarial")) + len(
            set(balls).intersection(store.units("certified"))
        )
        return cls(
            models=store.read_models(),
            **units,
            facts=facts,
            folder=store.folder,
            points=Points(store.read_points) if store.has_points() else None,
            missing_units=max(0, facts["n_units"] - done),
        )

    def write(self, folder: str | os.PathLike[str]) -> Store:
        """Write the tables, the metadata and the points into a new folder.

        Args:
            folder: A folder that does not exist yet or is empty.

        Returns:
            The folder's store.

        Raises:
            StoreError: If the folder holds something else.
        """
        store = Store(folder)
        store.begin({k: self.facts[k] for k in ("seed", "deltas", "epsilons", "models")})
        facts = {**self.facts, "total_units": self.total_units}
        store.write_manifest(
            {**facts, "run": None, "clean_units": [_SAVED], "certificate_units": [], "n_units": 1}
        )
        store.write_models(self.models)
        for table in IN_UNITS:
            store.write_unit(table, _SAVED, getattr(self, table))
        if self.points is not None:
            self.points.copy(self.adversarial["unit"].unique(), store.write_points)
        return store

    def detached(self) -> Self:
        """The same records, held in memory and without a folder."""
        points = None
        if self.points is not None:
            saved: dict[str, Saved] = {}
            self.points.copy(self.adversarial["unit"].unique(), saved.__setitem__)
            points = Points.in_memory(saved)
        return type(self)(**self.tables, facts=self.facts, points=points)
