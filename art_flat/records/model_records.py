"""The records of one model as arrays, shared by all summary tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._utils.sequence_names import split_position
from ..functional.loss_change import flip_cost
from ..functional.paper_bound import paper_factors
from ..functional.sharpness import HEAD_POWER
from ..scores import reduce
from ..typing import NORMS, Definition, Norm

ALL_ATTACKS = "(worst of all)"
"""Value of the column `attack` for the worst case over all attacks and radii."""

CONFIDENT = 0.9
"""Probability from which a wrong prediction counts as confident."""


def log_kappa(log_trace: Any, log_kappa_neuronwise: Any, weight_norm: Any, definition: Definition) -> Any:
    """log κ of a definition from the columns of the records; κ itself is its exponential."""
    if definition == "neuronwise":
        return log_kappa_neuronwise
    with np.errstate(divide="ignore"):
        return log_trace + HEAD_POWER[definition] * np.log(weight_norm)


def gini_impurity(table: pd.DataFrame) -> np.ndarray:
    """G = Tr H / ‖φ‖² from the columns of the records; NaN at φ = 0, where the trace does not determine G."""
    with np.errstate(divide="ignore", invalid="ignore"):
        impurity: np.ndarray = np.exp(
            table["log_trace"].to_numpy(float) - 2 * np.log(table["feature_norm"].to_numpy(float))
        )
    return impurity


def loss_rounding(weight_norm: Any, feature_norm: Any) -> Any:
    """Largest rounding error of a loss in float32 arithmetic, nats: the tolerance of comparisons with a bound."""
    return 1e-6 * (1 + weight_norm * feature_norm)


def order_of(codes: np.ndarray) -> np.ndarray:
    """A stable argsort of integers ≥ 0; 16-bit integers use radix sort, in linear time."""
    return np.argsort(codes.astype(np.uint16) if codes.max(initial=0) < 1 << 16 else codes, kind="stable")


class Certificate(NamedTuple):
    """Certified bounds and labels of each sample in a ball."""

    bound: np.ndarray
    """Bounds on the loss increase, nats, (n,); NaN where there is none."""
    label_kept: np.ndarray
    """Whether the label is certified to be predicted, bool (n,)."""
    kind: str | None
    """The kinds of the smallest bounds, the most frequent first, as text: `"crown_interval, crown"`."""
    lipschitz: str | None
    """The kinds of Lipschitz constants in these bounds; None if they use none."""


def _by_frequency(names: pd.Series) -> str | None:
    return ", ".join(names.dropna().value_counts(sort=True).index) or None


class ModelRecords:
    """Clean and adversarial rows of one model as arrays; adversarial rows know the position of their sample.

    Text columns are stored as codes: `attack` holds indices into `attack_names`, and so on. `change` is the loss
    change in nats: +inf where an attack finished and an output is `undefined`, NaN where there is no point. A point is
    `adversarial` if it is misclassified and its clean point is not.

    Args:
        tables: The four tables.
        model: The model's name.
        definition: Definition of the relative sharpness κ.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame], model: str, definition: Definition) -> None:
        clean = tables["clean"][lambda t: t["model"] == model].sort_values("sample")
        adv = tables["adversarial"]
        models = pd.factorize(adv["model"])
        self.index = np.flatnonzero((adv["model"] == model).to_numpy(bool))
        adv = adv if list(models[1]) == [model] else adv.iloc[self.index]
        sizes = tables["models"].set_index("model").loc[model]
        self.model, self.weight_norm = model, float(sizes["weight_norm"])
        self.head_size = int(sizes["nb_classes"] * sizes["nb_features"])
        self._certified = tables["certified"][lambda t: t["model"] == model]

        self.sample = clean["sample"].to_numpy(np.int64)
        self.weight = clean["weight"].to_numpy(float)
        self.label = clean["label"].to_numpy(np.int64)
        self.clean_pred = clean["pred"].to_numpy(np.int64)
        self.right = self.clean_pred == self.label
        self.clean_loss = clean["loss"].to_numpy(float)
        self.clean_undefined = np.isnan(self.clean_loss)
        self.clean_confidence = clean["confidence"].to_numpy(float)
        self.clean_log_kappa = self._log_kappa(clean, definition)
        self.feature_norm = clean["feature_norm"].to_numpy(float)
        self.clean_impurity = gini_impurity(clean)
        self.feature_grad_norm = clean["feature_grad_norm"].to_numpy(float)
        self.clean_log_trace = clean["log_trace"].to_numpy(float)

        self.position = np.searchsorted(self.sample, adv["sample"].to_numpy(np.int64))
        self.attack, self.attack_names = pd.factorize(adv["attack"])
        self.source, self.source_names = pd.factorize(adv["source_model"])
        self.norm, self.norm_names = pd.factorize(adv["norm"])
        self.status, self.status_names = pd.factorize(adv["status"])
        self.delta = adv["delta"].to_numpy(float)
        self.loss, self.confidence = adv["loss"].to_numpy(float), adv["confidence"].to_numpy(float)
        self.pred = adv["pred"].to_numpy(np.int64)
        self.target = adv["target"].to_numpy(dtype=float, na_value=np.nan)
        self.bound = adv["bound_at_shift"].to_numpy(float)
        self.shift = adv["feature_shift"].to_numpy(float)
        self.feature_norm_adv = adv["feature_norm"].to_numpy(float)
        self.impurity = gini_impurity(adv)
        self.length = {n: adv[n.lower()].to_numpy(float) for n in NORMS}
        self.cost = {c: adv[c].to_numpy(float) for c in ("forwards", "backwards", "seconds")}
        self.log_kappa = self._log_kappa(adv, definition)
        change = reduce.difference(self.loss, self.clean_loss[self.position])
        self.undefined = np.isnan(change) & ~np.isnan(self.length["Linf"])
        self.change = np.where(self.undefined, np.inf, change)
        self.measured = ~np.isnan(self.change) & ~self.undefined
        self.wrong = (self.pred != self.label[self.position]) | np.isnan(self.loss)
        self.adversarial = self.wrong & self.right[self.position]
        with np.errstate(invalid="ignore"):
            self.on_target = (self.pred == self.target) & ~np.isnan(self.loss)

    def certificate(self, norm: str, delta: float) -> Certificate | None:
        """The certificate of each sample in a ball: the smallest bound over all kinds and all balls that contain it.

        Args:
            norm: Norm of the ball.
            delta: Its radius, clip units.

        Returns:
            The smallest bounds; None without certificates.
        """
        table = self._certified[lambda t: (t["norm"] == norm) & (t["delta"] >= delta)]
        if table.empty:
            return None
        smallest = table.sort_values("loss_increase_bound", kind="stable").drop_duplicates("sample")
        smallest = smallest.set_index("sample").reindex(self.sample)
        certain = table["sample"][table["label_kept"].fillna(False).to_numpy(bool)]
        bound = smallest["loss_increase_bound"].to_numpy(float)
        by_loss = self.right & (bound < flip_cost(self.clean_loss))
        return Certificate(
            bound,
            by_loss | np.isin(self.sample, certain),
            _by_frequency(smallest["kind"]),
            _by_frequency(smallest["lipschitz"]),
        )

    def _log_kappa(self, table: pd.DataFrame, definition: Definition) -> Any:
        trace, neuronwise = (table[c].to_numpy(float) for c in ("log_trace", "log_kappa_neuronwise"))
        return log_kappa(trace, neuronwise, self.weight_norm, definition)

    def groups(self, norm: Norm, order: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """Row numbers of each attack and source model that ran in `norm`, then of all rows, for any norm."""
        runs = self.attack * len(self.source_names) + self.source
        by_run = order_of(runs)
        present = np.flatnonzero(np.bincount(runs))
        starts = np.searchsorted(runs[by_run], present)
        rows_of = dict(zip(present.tolist(), np.split(by_run, starts[1:]), strict=True)) if runs.size else {}
        code, names = self.code_of("norm", norm), list(self.attack_names)
        for attack in order:
            for source, title in enumerate(self.source_names):
                run = names.index(attack) * len(self.source_names) + source if attack in names else -1
                if run in rows_of and (self.norm[rows_of[run]] == code).any():
                    yield rows_of[run], {"attack": attack, "source_model": title}
        if len(rows_of) > 1:
            yield np.arange(runs.size), {"attack": ALL_ATTACKS, "source_model": self.model}

    def earlier_stages(self, attack: str, source_model: str) -> np.ndarray:
        """Row numbers (n,) of the earlier steps of an attack's sequence; empty for an attack outside sequences."""
        _, sequence, position = split_position(attack) or (attack, "", 0)
        places = [split_position(str(name)) for name in self.attack_names]
        codes = [
            i for i, place in enumerate(places) if place and place[1] == sequence and place[2] < position
        ]
        from_source = self.source == self.code_of("source", source_model)
        return np.flatnonzero(np.isin(self.attack, codes) & from_source)

    def attacks_of(self, rows: np.ndarray) -> list[str]:
        """Names of the attacks of the given rows."""
        return [str(name) for name in self.attack_names[np.flatnonzero(np.bincount(self.attack[rows]))]]

    def code_of(self, column: str, name: str) -> int:
        """The code of `name` in a text column; −1 if no row has it."""
        names = list(getattr(self, f"{column}_names"))
        return names.index(name) if name in names else -1

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per row, the tolerance of the bound, whether the paper's bound is informative, and that bound."""
        feature_norm = self.feature_norm[self.position]
        is_informative = (self.shift > 0) & (feature_norm > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_shift, log_norm = np.log(self.shift), np.log(self.feature_norm)
            paper_kappa = log_kappa(self.clean_log_trace, None, self.weight_norm, "paper")
            square, cube = paper_factors(paper_kappa - 2 * log_norm, log_norm, self.head_size)
            paper = np.exp(2 * log_shift + square[self.position]) + np.exp(
                3 * log_shift + cube[self.position]
            )
        return loss_rounding(self.weight_norm, feature_norm), is_informative, paper
