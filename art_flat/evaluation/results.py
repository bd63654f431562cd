"""`Results`: the tables of a run and everything that is read from them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._utils.validation import check_definition, check_epsilon, radius_words
from ..diagnostics._diagnose import Finding, diagnose
from ..errors import InputError, StoreError, UnknownNameError
from ..records.points import ADVICE, Points, Saved
from ..records.schema import ADVERSARIAL, CLEAN, TABLES
from ..records.store import IN_UNITS, Store
from ..summaries._not_run import not_run
from ..summaries._optimality import optimality
from ..summaries._summary import log_kappa, summarise
from ..summaries._surface import SURFACE_EPSILONS, surface
from ..summaries.selection import Selection
from ..typing import Definition

_SAVED = "records"
"""Key of the one unit that `save` writes."""

_KEYS = ("model", "source_model", "attack", "norm", "delta", "seed", "target", "sample")


class Results:
    """The records of an evaluation; every score is computed from them without running a model.

    Args:
        tables: The four tables, by name.
        facts: Versions, seeds, attacks and radii of the run; kept as `manifest.json`.
        folder: Where they were read from or written to.
        points: The points, where they were kept.

    Attributes:
        folder: The results folder; None for a run in memory.
        missing_units: How many units of attacks the folder still lacks, because the run goes on, was interrupted, or
            is one of several parts.
        models: One row per model.
        clean: One row per model and sample.
        adversarial: One row per model, sample, attack, norm, δ, seed, source model and target.
        certified: One row per model, sample, norm, δ and kind of bound.
        facts: As given.
    """

    def __init__(
        self,
        tables: Mapping[str, pd.DataFrame],
        facts: Mapping[str, Any],
        folder: str | os.PathLike[str] | None = None,
        points: Points | None = None,
    ) -> None:
        self.facts = dict(facts)
        self.folder = None if folder is None else Path(folder)
        self.missing_units = 0
        self._points = points
        order = {a["name"]: i for i, a in enumerate(self.facts["attacks"])}
        self.models, self.clean, self.certified = (tables[t] for t in ("models", "clean", "certified"))
        self.adversarial = tables["adversarial"].sort_values(
            list(_KEYS),
            key=lambda c: c.map(order).fillna(len(order)) if c.name == "attack" else c,
            ignore_index=True,
            kind="stable",
        )

    def __repr__(self) -> str:
        rows = f"{len(self.adversarial)} adversarial rows of {self.facts['n_samples']} samples"
        return f"<Results: {len(self.models)} model(s), {len(self.facts['attacks'])} attack(s), {rows}>"

    @property
    def total_units(self) -> int:
        """How many units of attacks the whole run has, the missing ones among them."""
        n_units: int = self.facts.get("total_units", self.facts.get("n_units", 0))
        return max(n_units, self.missing_units + int(self.adversarial["unit"].nunique()))

    @property
    def has_points(self) -> bool:
        """Whether the points themselves were kept: `evaluate(..., save_adversarial=True)`."""
        return self._points is not None

    def clean_points(self, samples: Any) -> np.ndarray:
        """Clean points of some samples.

        Args:
            samples: Sample ids, shape (m,).

        Returns:
            Shape (m, ...), in clip units and in the order asked for.

        Raises:
            StoreError: If the run kept no points, or knows no such sample.
        """
        return self._kept().clean(samples)

    def adversarial_points(self, rows: pd.DataFrame) -> np.ndarray:
        """Adversarial points of some rows of `adversarial` or `records()`.

        Args:
            rows: m rows with columns `unit` and `sample`.

        Returns:
            Shape (m, ...), in clip units and in the order of the rows; the clean point where a row failed because
            its point was not finite.

        Raises:
            StoreError: If the run kept no points, or none of these rows (their unit failed).
        """
        return self._kept().adversarial(rows)

    def _kept(self) -> Points:
        if self._points is None:
            raise StoreError(f"the points of this run were not kept; {ADVICE}")
        return self._points

    def records(self, definition: Definition = "paper") -> pd.DataFrame:
        """The whole table: one row per adversarial point, beside its clean point.

        Args:
            definition: Which relative sharpness `kappa_*` and `log_kappa_*` hold.

        Returns:
            The adversarial table with the quantities of both points (`_clean`, `_adv`), `label`, `weight`,
            `loss_change` (nats), `kappa_clean`, `kappa_adv`, `log_kappa_clean`, `log_kappa_adv` and
            `definition`; the definition also stands in `frame.attrs["definition"]`.

        Raises:
            UnknownNameError: If there is no such definition.
        """
        definition = check_definition(definition)
        shared = [c for c in CLEAN if c in ADVERSARIAL and c not in ("model", "sample")]
        adv = self.adversarial.rename(columns={c: f"{c}_adv" for c in shared})
        clean = self.clean.rename(columns={c: f"{c}_clean" for c in shared})
        frame = adv.merge(clean, on=["model", "sample"], how="left", validate="many_to_one")
        norms = self.models.set_index("model")["weight_norm"]
        norm = frame["model"].map(norms).to_numpy(float)
        for side in ("clean", "adv"):
            trace, own = (frame[f"{c}_{side}"].to_numpy(float) for c in ("log_trace", "log_kappa_neuronwise"))
            frame[f"log_kappa_{side}"] = log_kappa(trace, own, norm, definition)
            frame[f"kappa_{side}"] = np.exp(frame[f"log_kappa_{side}"])
        frame["loss_change"] = frame["loss_adv"] - frame["loss_clean"]
        frame["definition"] = definition
        frame.attrs["definition"] = definition
        return frame

    @radius_words
    def summary(
        self, epsilons: Sequence[float] | None = None, definition: Definition = "paper"
    ) -> pd.DataFrame:
        """Scores per model, attack, norm and δ, then over all attacks together.

        A point counts at (norm, δ) wherever its measured distance is at most δ, also if another radius or norm
        was asked for when it was made, so a larger δ never looks safer. A sample is evaluated if the attack's own
        run at (norm, δ) gave a point for it, or if its clean output is undefined; samples that no attack finished are
        left out and counted. An undefined output (NaN or infinite) at the clean point or within δ is not robust.
        Flatness is read where the
        sample's loss is largest, over the samples that are right when clean and wrong there.

        Args:
            epsilons: Tolerated loss changes in nats; those of the run if None.
            definition: Which relative sharpness.

        Returns:
            One row per cell. Beside the keys `model, attack, source_model, norm, delta` and `maximises_loss`:

            - `n_evaluated`; `n_failed` points, those with undefined outputs among them; `n_skipped`; `n_unfinished`
              samples, which no attack finished: where it is not 0 the shares are of fewer samples, and tables mark
              them; `fallback`, the share of points no better than the clean one
            - `accuracy`, `robust_accuracy`, `robust_accuracy_on_correct`, `prediction_robustness`: shares
            - `target_success`: share with a point within δ that is predicted as the sample's target; NaN if untargeted
            - `loss_change_robustness@ε` and `certified@ε`: upper and lower end of the (δ, ε)-robust share, over the
              same samples; NaN where nothing is certified; `certified_accuracy`; what certifies: `bound_kind`, and
              `lipschitz_kind` (`"spectral"`, or `"given"`: the user's constant, taken at its word)
            - `minimum_loss_increase`: median, nats, inf where most samples have none, and the median of its lower
              bound log 2 − ℓ, `minimum_loss_increase_bound`; `wrong_found`, the share of samples that have one
            - `n_adversarial`, and over these `kappa_clean`, `kappa_adv` (medians, nats), `flatness_ratio` (median of
              κ_adv/κ_clean), `flat_fraction`, and the medians of what κ and the bounds are made of: `weight_norm`
              ‖W‖_F, `feature_norm_clean`, `feature_norm_adv` ‖φ‖, `gini_impurity_clean`, `gini_impurity_adv` G,
              `feature_grad_norm_clean` ‖g‖, `feature_shift`; over all, `confidently_wrong_fraction`
            - `bound_violations` (0, or there is a bug), `bound_tightness` (median of the measured increase over the
              bound at the measured feature shift), `paper_bound_exceeded` (share of points)
            - `seconds`, and per sample `forwards`, `backwards`

        Raises:
            InputError: If an ε is negative.
            UnknownNameError: If there is no such definition.
        """
        levels = self.facts["epsilons"] if epsilons is None else sorted({check_epsilon(e) for e in epsilons})
        tables = {t: getattr(self, t) for t in TABLES}
        return summarise(
            tables, self.facts["attacks"], self.facts["deltas"], levels, check_definition(definition)
        )

    def optimality(self) -> pd.DataFrame:
        """How close each attack comes to the best of all that were run, per model, norm and δ.

        The best of a sample is over all attacks, radii, norms and source models of the records. Radii are read as a
        grid: an attack that breaks a sample at δ_j and not at δ_{j−1} scores from δ_{j−1} on, so attacks with a
        fixed budget and those that seek the nearest point are compared alike. More radii say more.

        Returns:
            Columns `model, attack, source_model, norm, delta, n_evaluated, distance_optimality,
            loss_optimality`. Both scores are in [0, 1], 1 for the best: see
            `art_flat.scores.distance_optimality_score`, here with the limit δ and over the samples that are right
            when clean, and `art_flat.scores.loss_optimality_score`. NaN where no attack found anything.
        """
        tables = {t: getattr(self, t) for t in TABLES}
        return optimality([a["name"] for a in self.facts["attacks"]], tables, self.facts["deltas"])

    @radius_words
    def surface(self, epsilons: Sequence[float] | None = None) -> pd.DataFrame:
        """The (δ, ε)-robust share between its two ends: certified ≤ truth ≤ empirical, over all attacks.

        Args:
            epsilons: Tolerated loss changes in nats; 49 from 0.001 to 10 if None.

        Returns:
            Columns `model, norm, delta, epsilon, n_evaluated, certified, empirical`; shares in [0, 1] of the same
            samples, `certified` NaN where nothing is certified. The empirical share never falls as ε grows.

        Raises:
            InputError: If an ε is negative.
        """
        levels = SURFACE_EPSILONS if epsilons is None else sorted({check_epsilon(e) for e in epsilons})
        return surface({t: getattr(self, t) for t in TABLES}, self.facts["deltas"], levels)

    def selection(self, model: str | None = None, definition: Definition = "paper") -> Selection:
        """Adversarial points of one model, one per sample: `worst(norm, delta)` or `nearest(norm, delta)`.

        Args:
            model: Its name; may be left out if there is only one.
            definition: Which relative sharpness κ is.

        Returns:
            What selects them.

        Raises:
            UnknownNameError: If there is no such model or definition.
            InputError: If there are several models and no name.
        """
        names = [str(m) for m in self.models["model"]]
        if model is None:
            if len(names) != 1:
                raise InputError(f"`model` must be one of {', '.join(map(repr, names))}; none was given")
            model = names[0]
        if model not in names:
            raise UnknownNameError("model", model, names)
        return Selection({t: getattr(self, t) for t in TABLES}, model, check_definition(definition))

    def failures(self) -> pd.DataFrame:
        """Units that did not end well.

        Returns:
            Columns `model, attack, norm, delta, status, error, n`, one row per reason; empty if there is none.
        """
        bad = self.adversarial[self.adversarial["status"].isin(["failed", "skipped"])]
        keys = ["model", "attack", "norm", "delta", "status", "error"]
        return bad.groupby(keys, dropna=False, sort=False).size().rename("n").reset_index()

    def not_run(self) -> pd.DataFrame:
        """What was asked for and did not run, and why; `failures` counts single samples.

        Returns:
            Columns `model, attack, norm, delta, reason`, a row per attack and norm of which no point was measured, per
            radius at which a place of a sequence was left no sample (`delta`, else NaN), and per norm that no attack
            supports (`attack` is None). Empty if everything ran, and while units are missing.
        """
        models = [] if self.missing_units else [str(m) for m in self.models["model"]]
        return not_run(self.adversarial, models, self.facts["attacks"], self.facts["deltas"])

    def findings(self) -> list[Finding]:
        """What a reader should know before believing the numbers, the most severe first; from the records alone.

        `art_flat.evaluation.diagnose` lists what is looked for, and can also ask the models.

        Returns:
            The findings; empty if nothing is suspicious.
        """
        return diagnose(self)

    def to_markdown(self, epsilons: Sequence[float] | None = None, definition: Definition = "paper") -> str:
        """The summary as Markdown tables, one per model and norm, with notes, failures and findings under them.

        Args:
            epsilons: Tolerated loss changes in nats; those of the run if None.
            definition: Which relative sharpness.

        Returns:
            Text for a README, in GitHub's dialect; δ in clip units, κ in nats.

        Raises:
            InputError: If an ε is negative.
            UnknownNameError: If there is no such definition.
        """
        from ..reporting._markdown import to_markdown

        return to_markdown(self, epsilons, definition)

    def to_robustbench(
        self, folder: str | os.PathLike[str], info: Mapping[str, Mapping[str, Any]] | None = None
    ) -> list[Path]:
        """Write the results as RobustBench's `model_info` files: one per model, norm and δ.

        Measured are `eps` (δ over the input range), `clean_acc`, `reported` (robust accuracy over all attacks of
        this run, unless you give a paper's) and `autoattack_acc`, in per cent. The last is there only where
        AutoAttack's four attacks ran on every sample (the suite `standard`) without a failure. A field of `info`
        that is not given is null. The block `art_flat` says what was run, on how many samples, what is missing and
        why, and adds loss-change robustness and certificates as shares.

        Args:
            folder: Where to, as `folder/dataset/norm/model.json`; the name ends in δ where the run has several.
                Files that art_flat wrote are replaced.
            info: Model → what a run cannot know: `link`, `name`, `authors`, `additional_data`,
                `number_forward_passes`, `dataset`, `venue`, `architecture`; also `reported`, `external`,
                `footnote`, `unreliable`.

        Returns:
            The files.

        Raises:
            InputError: If a model or field is unknown, or the field is one that is measured.
            StoreError: If a file is there that art_flat did not write.

        Source:
            https://github.com/RobustBench/robustbench, `robustbench/utils.py` and `model_info/`.
        """
        from ..reporting._robustbench import to_robustbench

        return to_robustbench(self, folder, info)

    def report(self, path: str | os.PathLike[str], definition: Definition = "paper") -> Path:
        """Write a report to look at: one self-contained HTML file that opens from disk; no model is run.

        Args:
            path: Where to; an existing file is replaced once the new one is whole. In a folder, `report.html`.
            definition: Which relative sharpness κ is.

        Returns:
            The path of the file.

        Raises:
            UnknownNameError: If there is no such definition.
        """
        from ..reporting import write_report

        return write_report(self, path, definition)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the tables, the environment and the summary into a new folder.

        Args:
            folder: A folder that does not exist yet or is empty.

        Raises:
            StoreError: If the folder holds something else.
        """
        store = Store(folder)
        store.begin({k: self.facts[k] for k in ("seed", "deltas", "epsilons", "models")})
        facts = {**self.facts, "total_units": self.total_units}
        store.write_manifest({**facts, "run": None, "clean_units": [_SAVED], "n_units": 1})
        store.write_models(self.models)
        for table in IN_UNITS:
            store.write_unit(table, _SAVED, getattr(self, table))
        if self._points is not None:
            self._points.copy(self.adversarial["unit"].unique(), store.write_points)
        store.write_summary(self.summary())

    def detached(self) -> Results:
        """The same results, held in memory and without a folder."""
        points = None
        if self._points is not None:
            saved: dict[str, Saved] = {}
            self._points.copy(self.adversarial["unit"].unique(), saved.__setitem__)
            points = Points.in_memory(saved)
        return Results({t: getattr(self, t) for t in TABLES}, self.facts, points=points)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Results:
        """Read a folder written by `save` or by `evaluate(..., out=folder)`.

        Args:
            folder: The results folder.

        Returns:
            The results.

        Raises:
            StoreError: If the folder holds no results, or they are damaged or of another version.
        """
        store = Store(folder)
        facts = store.read_manifest()
        tables = {"models": store.read_models()}
        for table in IN_UNITS:
            tables[table] = store.read_table(table, facts["clean_units"])
        points = Points(store.read_points) if store.has_points() else None
        results = cls(tables, facts, store.folder, points)
        results.missing_units = max(0, facts["n_units"] - sum(1 for _ in store.units("adversarial")))
        return results
