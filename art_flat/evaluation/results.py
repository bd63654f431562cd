"""`Results`: the records of an evaluation, with its scores, findings and reports as methods."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .._utils.validation import check_keywords
from ..diagnostics import diagnose
from ..diagnostics.finding import Findings
from ..records import Records
from ..reporting import to_markdown, to_robustbench, write_report
from ..reporting.notebook import results_html
from ..summaries import Selection, failures, not_run, optimality, select, summarise, surface
from ..summaries.columns import chosen_columns
from ..typing import Definition


class Results(Records):
    """The records of an evaluation; every score is computed from them without running a model.

    `evaluate` returns it and `Results.load(folder)` reads it again. The attributes are those of `Records`.
    """

    def _repr_html_(self) -> str:
        return results_html(self)

    def records(self, definition: Definition = "paper") -> pd.DataFrame:
        """The whole table: one row per adversarial point, joined with its clean point.

        Args:
            definition: Definition of the relative sharpness in `kappa_*` and `log_kappa_*`.

        Returns:
            The adversarial table with the quantities of both points (`_clean`, `_adv`), `label`, `weight`,
            `loss_change` (nats), `kappa_clean`, `kappa_adv`, `log_kappa_clean`, `log_kappa_adv` and
            `definition`; the definition is also in `frame.attrs["definition"]`.

        Raises:
            UnknownNameError: If the definition is unknown.
        """
        return self.joined(definition)

    @check_keywords
    def summary(
        self,
        epsilons: Sequence[float] | None = None,
        definition: Definition = "paper",
        columns: str | Sequence[str] = "all",
    ) -> pd.DataFrame:
        """Scores per model, attack, norm and δ, then over all attacks together.

        A point counts at (norm, δ) if its measured distance is at most δ, even if it was computed for another
        radius or norm, so a larger δ never looks safer. A sample is evaluated if the attack's own
        run at (norm, δ) has a point for it, or if its clean output is undefined; samples that no attack finished are
        excluded and counted. An undefined output (NaN or infinite) at the clean point or within δ is not robust.
        Flatness is measured where the
        sample's loss is largest, over the clean-correct samples that are misclassified there.

        Args:
            epsilons: Tolerated loss changes in nats; those of the run if None.
            definition: Definition of the relative sharpness κ.
            columns: `"all"`; `"main"`, the ten columns that a reader looks at first and two per ε, with which the
                full table begins too; or names of columns.

        Returns:
            One row per cell. The main columns are `model, attack, norm, delta, n_evaluated, accuracy,
            certified_accuracy, robust_accuracy, flat_fraction, confidently_wrong_fraction`, and `certified@ε` and
            `loss_change_robustness@ε` for every ε. Beside them, `source_model` and
            `maximises_loss`:

            - `n_evaluated`; `n_failed` points, including those with undefined outputs; `n_skipped`; `n_unfinished`
              samples, which no attack finished: if it is not 0 the shares are of fewer samples, and tables mark
              them; `fallback`, the share of points no better than the clean one
            - `accuracy`, `robust_accuracy`, `robust_accuracy_on_correct`, `prediction_robustness`: shares
            - `target_success`: share with a point within δ that is predicted as the sample's target; NaN if untargeted
            - `loss_change_robustness@ε` and `certified@ε`: upper and lower end of the (δ, ε)-robust share, over the
              same samples; NaN where nothing is certified; `certified_accuracy`; `bound_kind`, the kinds of the
              smallest bounds, most frequent first, and `lipschitz_kind` (`"spectral"`, or `"given"`: the user's
              constant, not verified)
            - `minimum_loss_increase`: median, nats, inf if most samples have none, and the median of its lower
              bound log 2 − ℓ, `minimum_loss_increase_bound`; `wrong_found`, the share of samples that have one
            - `n_adversarial`, and over these `kappa_clean`, `kappa_adv` (medians, nats), `flatness_ratio` (median of
              κ_adv/κ_clean), `flat_fraction`, and the medians of the factors of κ and the bounds: `weight_norm`
              ‖W‖_F, `feature_norm_clean`, `feature_norm_adv` ‖φ‖, `gini_impurity_clean`, `gini_impurity_adv` G,
              `feature_grad_norm_clean` ‖g‖, `feature_shift`; over all, `confidently_wrong_fraction`
            - `bound_violations` (0, or there is a bug), `bound_tightness` (median of the measured increase over the
              bound at the measured feature shift), `paper_bound_exceeded` (share of points)
            - `seconds`, and per sample `forwards`, `backwards`

        Raises:
            InputError: If an ε is negative.
            UnknownNameError: If the definition or a column is unknown.
        """
        return chosen_columns(summarise(self, epsilons, definition), columns)

    def optimality(self) -> pd.DataFrame:
        """How close each attack is to the best of all attacks of the run, per model, norm and δ.

        The best of a sample is over all attacks, radii, norms and source models of the records. Radii are read as a
        grid: an attack that breaks a sample at δ_j and not at δ_{j−1} scores from δ_{j−1} on, so attacks with a
        fixed budget and minimum-norm attacks are comparable. More radii make the scores more precise. The scores of a
        step of a sequence are those after it, as in `summary`.

        Returns:
            Columns `model, attack, source_model, norm, delta, n_evaluated, distance_optimality,
            loss_optimality`. Both scores are in [0, 1], 1 for the best: see
            `art_flat.scores.distance_optimality_score`, here with the limit δ and over the clean-correct
            samples, and `art_flat.scores.loss_optimality_score`. NaN where no attack found anything.
        """
        return optimality(self)

    @check_keywords
    def surface(self, epsilons: Sequence[float] | None = None) -> pd.DataFrame:
        """The (δ, ε)-robust share between its two ends: certified ≤ truth ≤ empirical, over all attacks.

        Args:
            epsilons: Tolerated loss changes in nats; 49 from 0.001 to 10 if None.

        Returns:
            Columns `model, norm, delta, epsilon, n_evaluated, certified, empirical, bound_kind`; shares in [0, 1] of
            the same samples, `certified` NaN where nothing is certified. The empirical share never falls as ε grows.

        Raises:
            InputError: If an ε is negative.
        """
        return surface(self, epsilons)

    def selection(self, model: str | None = None, definition: Definition = "paper") -> Selection:
        """Adversarial points of one model, one per sample: `worst(norm, delta)` or `nearest(norm, delta)`.

        Args:
            model: Name of the model; optional if there is only one.
            definition: Definition of the relative sharpness κ.

        Returns:
            The selection.

        Raises:
            UnknownNameError: If there is no such model or definition.
            InputError: If there are several models and no name.
        """
        return select(self, model, definition)

    def failures(self) -> pd.DataFrame:
        """Failed and skipped units.

        Returns:
            Columns `model, attack, norm, delta, status, error, n`, one row per reason; empty if there is none.
        """
        return failures(self)

    def not_run(self) -> pd.DataFrame:
        """Requested attacks and radii that did not run, with the reasons; `failures` counts single samples.

        Returns:
            Columns `model, attack, norm, delta, reason`, a row per attack and norm of which no point was measured, per
            radius at which a step of a sequence had no sample left (`delta`, else NaN), and per norm that no attack
            supports (`attack` is None). Empty if everything ran, and while units are missing.
        """
        return not_run(self)

    def findings(self) -> Findings:
        """Findings that a reader should know before trusting the numbers, the most severe first; from the records.

        `art_flat.evaluation.diagnose` lists all checks, and can also run the models.

        Returns:
            The findings, a list of `Finding`; empty if nothing is suspicious.
        """
        return diagnose(self)

    def to_markdown(
        self,
        epsilons: Sequence[float] | None = None,
        definition: Definition = "paper",
        *,
        wide: bool = False,
    ) -> str:
        """The summary as Markdown tables, one per model and norm, with notes, failures and findings under them.

        Args:
            epsilons: Tolerated loss changes in nats; those of the run if None.
            definition: Definition of the relative sharpness κ.
            wide: Whether to show every quantity of every attack at every radius, with the attacks' full names.

        Returns:
            Text for a README, in GitHub's dialect; δ in clip units, κ in nats.

        Raises:
            InputError: If an ε is negative.
            UnknownNameError: If the definition is unknown.
        """
        return to_markdown(self, epsilons, definition, wide=wide)

    def to_robustbench(
        self, folder: str | os.PathLike[str], info: Mapping[str, Mapping[str, Any]] | None = None
    ) -> list[Path]:
        """Write the results as RobustBench's `model_info` files: one per model, norm and δ.

        Measured are `eps` (δ over the input range), `clean_acc`, `reported` (robust accuracy over all attacks of
        this run, unless `info` has a paper's value) and `autoattack_acc`, in per cent. The last exists only if
        AutoAttack's four attacks ran on every sample (the suite `standard`) without a failure. A field of `info`
        that is not given is null. The block `art_flat` holds the attacks, the number of samples, missing results with
        reasons, and loss-change robustness and certificates as shares.

        Args:
            folder: Destination, as `folder/dataset/norm/model.json`; the name ends in δ if the run has several.
                Files that art_flat wrote are replaced.
            info: Model → fields that a run cannot know: `link`, `name`, `authors`, `additional_data`,
                `number_forward_passes`, `dataset`, `venue`, `architecture`; also `reported`, `external`,
                `footnote`, `unreliable`.

        Returns:
            The files.

        Raises:
            InputError: If a model or field is unknown, or the field is measured by the run.
            StoreError: If a file exists that art_flat did not write.

        Source:
            https://github.com/RobustBench/robustbench, `robustbench/utils.py` and `model_info/`.
        """
        return to_robustbench(self, folder, info)

    def report(self, path: str | os.PathLike[str], definition: Definition = "paper") -> Path:
        """Write the report as one self-contained HTML file that opens from disk; no model is run.

        Args:
            path: Destination; an existing file is replaced once the new one is complete. In a folder, `report.html`.
            definition: Definition of the relative sharpness κ.

        Returns:
            The path of the file.

        Raises:
            UnknownNameError: If the definition is unknown.
        """
        return write_report(self, path, definition)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the tables, the environment and the summary into a new folder.

        Args:
            folder: A folder that does not exist yet or is empty.

        Raises:
            StoreError: If the folder holds something else.
        """
        self.write(folder).write_summary(self.summary())
