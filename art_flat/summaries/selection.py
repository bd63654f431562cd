"""One adversarial point per sample: the one with the largest loss, or the nearest one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .._utils.validation import check_definition
from ..records import ModelRecords, Records
from ..scores.reduce import is_flatter
from ..typing import Definition, Norm

OUTCOMES = ("still correct", "wrong and sharper", "wrong and flatter", "misclassified before the attack")
"""Outcomes of an attack on a sample; flatter: κ at the adversarial point is below κ at the clean one."""


class Selection:
    """The records of one model, from which points are selected.

    Args:
        rows: The model's records.
    """

    def __init__(self, rows: ModelRecords) -> None:
        self.model = rows.model
        self._rows = rows

    def worst(self, norm: Norm, delta: float, attack: str | None = None) -> pd.DataFrame:
        """Where each sample's loss is largest among the points made for (norm, δ) and within it.

        Args:
            norm: The norm.
            delta: The radius, clip units.
            attack: Only points of this attack found on this model; if None, points of all attacks, also those
                found on other models.

        Returns:
            One row per sample that has such a point, with the columns of `table`.
        """
        r = self._rows
        matches = (r.norm == r.code_of("norm", norm)) & (np.isnan(r.delta) | (r.delta == delta))
        matches &= r.measured & (r.length[norm] <= delta)
        if attack is not None:
            matches &= (r.attack == r.code_of("attack", attack)) & (
                r.source == r.code_of("source", self.model)
            )
        return self._last(np.flatnonzero(matches), r.change, norm)

    def nearest(self, norm: Norm, delta: float) -> pd.DataFrame:
        """The nearest wrong point of each clean-correct sample, if one lies within δ.

        Args:
            norm: The norm.
            delta: The radius, clip units.

        Returns:
            One row per sample that has such a point, with the columns of `table`.
        """
        r = self._rows
        inside = r.measured & (r.length[norm] <= delta)
        return self._last(np.flatnonzero(inside & r.adversarial), -r.length[norm], norm)

    def _last(self, chosen: np.ndarray, order: np.ndarray, norm: Norm) -> pd.DataFrame:
        chosen = chosen[np.argsort(order[chosen], kind="stable")]
        best = np.full(self._rows.sample.size, -1)
        best[self._rows.position[chosen]] = chosen
        return self.table(best[best >= 0], norm)

    def table(self, chosen: np.ndarray, norm: Norm) -> pd.DataFrame:
        """Measurements of some points.

        Args:
            chosen: Positions among the model's adversarial rows, shape (m,).
            norm: Norm of the column `distance`.

        Returns:
            One row per point: `row` (position in the adversarial table), `sample, attack, source_model` (on which the
            point was found), `label, pred_clean, pred_adv, loss_clean, loss_adv, loss_change` (nats),
            `confidence_clean, confidence_adv, log_kappa_clean, log_kappa_adv` (log nats), `distance` (clip units),
            `outcome` (one of `OUTCOMES`).
        """
        r = self._rows
        at = r.position[chosen]
        before, after, wrong = r.clean_log_kappa[at], r.log_kappa[chosen], r.wrong[chosen]
        outcome = np.select(
            [~r.right[at], ~wrong, is_flatter(after, before)],
            [OUTCOMES[3], OUTCOMES[0], OUTCOMES[2]],
            OUTCOMES[1],
        )
        return pd.DataFrame(
            {
                "row": r.index[chosen],
                "sample": r.sample[at],
                "attack": np.asarray(r.attack_names, object)[r.attack[chosen]],
                "source_model": np.asarray(r.source_names, object)[r.source[chosen]],
                "label": r.label[at],
                "pred_clean": r.clean_pred[at],
                "pred_adv": r.pred[chosen],
                "loss_clean": r.clean_loss[at],
                "loss_adv": r.loss[chosen],
                "loss_change": r.change[chosen],
                "confidence_clean": r.clean_confidence[at],
                "confidence_adv": r.confidence[chosen],
                "log_kappa_clean": before,
                "log_kappa_adv": after,
                "distance": r.length[norm][chosen],
                "outcome": outcome.astype(object),
            }
        )


def select(records: Records, model: str | None = None, definition: Definition = "paper") -> Selection:
    """Adversarial points of one model, one per sample; see `Results.selection`.

    Args:
        records: The records of a run.
        model: Name of the model; optional if there is only one.
        definition: Definition of the relative sharpness κ.

    Returns:
        The selection.

    Raises:
        InputError: If there is no such model, or there are several and none was given.
        UnknownNameError: If the definition is unknown.

    >>> from art_flat.testing import example_results
    >>> select(example_results()).model
    'model'
    """
    return Selection(records.of_model(records.only_model(model), check_definition(definition)))
