"""From records to the summary table: per model, attack, norm and δ; no model is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._types import Definition, Norm
from ..scores import _reduce

ALL_ATTACKS = "(worst of all)"
"""Stands in the column `attack` where the worst case over every attack and every radius is meant."""

CONFIDENT = 0.9
"""Probability from which a wrong prediction counts as confident."""


def log_kappa(log_trace: Any, log_kappa_neuronwise: Any, weight_norm: Any, definition: Definition) -> Any:
    """log κ of a definition from the columns of the records; κ itself is its exponential."""
    if definition == "neuronwise":
        return log_kappa_neuronwise
    with np.errstate(divide="ignore"):
        return log_trace + (2 if definition == "paper" else 1) * np.log(weight_norm)


def loss_rounding(weight_norm: Any, feature_norm: Any) -> Any:
    """How much float32 arithmetic in the model can move a loss, nats: what a bound is forgiven."""
    return 1e-6 * (1 + weight_norm * feature_norm)


def summarise(
    tables: Mapping[str, pd.DataFrame],
    attacks: Sequence[Mapping[str, Any]],
    deltas: Mapping[Norm, Sequence[float]],
    epsilons: Sequence[float],
    definition: Definition,
) -> pd.DataFrame:
    """One row per model, attack, norm and δ, and one over all attacks; see `Results.summary` for the columns.

    Args:
        tables: The four tables.
        attacks: What the environment file says of each attack, in order.
        deltas: Norm → radii.
        epsilons: Tolerated loss changes, nats.
        definition: Which relative sharpness.

    Returns:
        The summary.
    """
    rows = []
    facts = {a["name"]: a for a in attacks}
    for model in tables["models"]["model"]:
        points = Points(tables, str(model), definition)
        for norm, radii in deltas.items():
            for chosen, keys in points.groups(norm, list(facts)):
                names = points.attack[chosen] if keys["attack"] == ALL_ATTACKS else [keys["attack"]]
                loss = any(facts[a]["maximises_loss"] for a in dict.fromkeys(names))
                for delta in radii:
                    cell = points.cell(chosen, norm, delta, epsilons)
                    if cell is not None:
                        head = {"model": model, **keys, "norm": norm, "delta": delta, "maximises_loss": loss}
                        rows.append({**head, **cell})
    return pd.DataFrame(rows)


class Points:
    """Clean and adversarial rows of one model as arrays; adversarial rows know the position of their sample."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], model: str, definition: Definition) -> None:
        clean = tables["clean"][lambda t: t["model"] == model].sort_values("sample")
        adv = tables["adversarial"][lambda t: t["model"] == model]
        weight_norm = float(tables["models"].set_index("model").loc[model, "weight_norm"])
        self.model = model
        self.weight = clean["weight"].to_numpy(float)
        self.label = clean["label"].to_numpy(np.int64)
        self.clean = {
            c: clean[c].to_numpy() for c in ("loss", "confidence", "log_trace", "log_kappa_neuronwise")
        }
        self.clean_pred = clean["pred"].to_numpy(np.int64)
        self.right = self.clean_pred == self.label
        self.clean_log_kappa = log_kappa(
            self.clean["log_trace"], self.clean["log_kappa_neuronwise"], weight_norm, definition
        )
        self.position = np.searchsorted(clean["sample"].to_numpy(np.int64), adv["sample"].to_numpy(np.int64))
        self.attack = adv["attack"].to_numpy(object)
        self.source = adv["source_model"].to_numpy(object)
        self.norm = adv["norm"].to_numpy(object)
        self.delta = adv["delta"].to_numpy(float)
        self.status = adv["status"].to_numpy(object)
        self.loss, self.confidence = adv["loss"].to_numpy(float), adv["confidence"].to_numpy(float)
        self.pred = adv["pred"].to_numpy(np.int64)
        self.bound = adv["bound_at_shift"].to_numpy(float)
        self.shift = adv["feature_shift"].to_numpy(float)
        self.certified = tables["certified"][lambda t: t["model"] == model].sort_values("sample")
        sizes = tables["models"].set_index("model").loc[model]
        self.head_size, self.weight_norm = int(sizes["nb_classes"] * sizes["nb_features"]), weight_norm
        self.feature_norm = clean["feature_norm"].to_numpy(float)
        self.length = {n: adv[n.lower()].to_numpy(float) for n in ("Linf", "L2", "L1", "L0")}
        self.cost = {c: adv[c].to_numpy(float) for c in ("forwards", "backwards", "seconds")}
        self.log_kappa = log_kappa(
            adv["log_trace"].to_numpy(float),
            adv["log_kappa_neuronwise"].to_numpy(float),
            weight_norm,
            definition,
        )
        with np.errstate(invalid="ignore"):
            self.change = self.loss - self.clean["loss"][self.position]

    def groups(self, norm: Norm, order: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """Row numbers of each attack and source model that ran in `norm`, then of all rows, whatever their norm."""
        codes, sources = pd.factorize(self.source)
        for attack in order:
            mine = self.attack == attack
            for code, source in enumerate(sources):
                rows = np.flatnonzero(mine & (codes == code))
                if rows.size and (self.norm[rows] == norm).any():
                    yield rows, {"attack": attack, "source_model": source}
        if len(set(zip(self.attack, codes, strict=True))) > 1:
            yield np.arange(self.attack.size), {"attack": ALL_ATTACKS, "source_model": self.model}

    def cell(
        self, rows: np.ndarray, norm: Norm, delta: float, epsilons: Sequence[float]
    ) -> dict[str, Any] | None:
        """The scores of some rows at (norm, δ); None where no unit was run for it."""
        own = (self.norm[rows] == norm) & (np.isnan(self.delta[rows]) | (self.delta[rows] == delta))
        if not own.any():
            return None
        n, position, change = self.label.size, self.position[rows], self.change[rows]
        known = ~np.isnan(change)
        with np.errstate(invalid="ignore"):
            inside = known & (self.length[norm][rows] <= delta)
        evaluated = np.zeros(n, bool)
        evaluated[position[own & known]] = True
        label, pred = self.label[position], self.pred[rows]
        wrong = inside & (pred != label)
        fooled, moved = ~self.right, np.zeros(n, bool)
        fooled[position[wrong]] = True
        moved[position[inside & (pred != self.clean_pred[position])]] = True
        worst = np.zeros(n)
        np.maximum.at(worst, position[inside], change[inside])
        least = np.where(self.right, np.inf, 0.0)
        np.minimum.at(least, position[wrong], change[wrong])
        worst[~evaluated] = least[~evaluated] = np.nan
        w = self.weight

        def share(hit: np.ndarray, among: np.ndarray = evaluated) -> float:
            return _reduce.weighted_share(hit, among, w)

        robust = _reduce.robust_share(worst, list(epsilons), w)
        return {
            "n_evaluated": int(evaluated.sum()),
            "n_failed": int((own & (self.status[rows] == "failed")).sum()),
            "n_skipped": int((own & (self.status[rows] == "skipped")).sum()),
            "fallback": float((self.status[rows][own & known] == "fallback").mean())
            if (own & known).any()
            else np.nan,
            "accuracy": share(self.right),
            "robust_accuracy": share(~fooled),
            "robust_accuracy_on_correct": share(~fooled, evaluated & self.right),
            "prediction_robustness": share(~moved),
            **{f"loss_change_robustness@{e:g}": float(r) for e, r in zip(epsilons, robust, strict=True)},
            **self._certified(norm, delta, epsilons, evaluated),
            "minimum_loss_increase": _reduce.weighted_quantile(least, 0.5, w),
            "minimum_loss_increase_bound": _reduce.weighted_quantile(
                np.where(evaluated, np.log(2) - self.clean["loss"], np.nan), 0.5, w
            ),
            "wrong_found": share(fooled),
            **self._flatness(rows, own & inside, change, evaluated),
            **self._bounds(rows[own & known]),
            "seconds": float(np.nansum(self.cost["seconds"][rows][own])),
            **{c: _mean(self.cost[c][rows][own & known]) for c in ("forwards", "backwards")},
        }

    def _certified(
        self, norm: Norm, delta: float, epsilons: Sequence[float], evaluated: np.ndarray
    ) -> dict[str, float]:
        """Shares that are certified, over the samples evaluated: lower ends of the brackets."""
        table = self.certified
        bound = table.loc[
            (table["norm"] == norm) & (table["delta"] == delta), "loss_increase_bound"
        ].to_numpy(float)
        if not bound.size:
            return {**{f"certified@{e:g}": np.nan for e in epsilons}, "certified_accuracy": np.nan}
        share = _reduce.robust_share(np.where(evaluated, bound, np.nan), list(epsilons), self.weight)
        right = self.right & (self.clean["loss"] + bound < np.log(2))
        return {
            **{f"certified@{e:g}": float(s) for e, s in zip(epsilons, share, strict=True)},
            "certified_accuracy": _reduce.weighted_share(right, evaluated, self.weight),
        }

    def _bounds(self, rows: np.ndarray) -> dict[str, float]:
        """The bound at the measured feature shift against the measured increase; and the paper's bound there."""
        position, change, bound = self.position[rows], self.change[rows], self.bound[rows]
        rounding = loss_rounding(self.weight_norm, self.feature_norm[position])
        moved = (self.shift[rows] > 0) & (self.feature_norm[position] > 0)
        relative = self.shift[rows][moved] / self.feature_norm[position][moved]
        kappa = np.exp(self.clean["log_trace"][position][moved]) * self.weight_norm**2
        paper = relative**2 / 2 * kappa + relative**3 * self.head_size / 24
        tight = (change > rounding) & (bound > 0)
        return {
            "bound_violations": int((change > bound + rounding).sum()),
            "bound_tightness": _reduce.weighted_quantile(change[tight] / bound[tight], 0.5),
            "paper_bound_exceeded": float((change[moved] > paper + rounding[moved]).mean())
            if moved.any()
            else np.nan,
        }

    def _flatness(
        self, rows: np.ndarray, candidates: np.ndarray, change: np.ndarray, evaluated: np.ndarray
    ) -> dict[str, Any]:
        """Flatness where each sample's loss is largest, over samples that are right when clean and wrong there."""
        chosen = np.flatnonzero(candidates)
        chosen = chosen[np.argsort(change[chosen], kind="stable")]
        highest = np.full(self.label.size, -1)
        highest[self.position[rows[chosen]]] = rows[chosen]
        there = np.flatnonzero(highest >= 0)
        row = highest[there]
        wrong = self.pred[row] != self.label[there]
        confident = np.zeros(self.label.size, bool)
        confident[there] = wrong & (self.confidence[row] >= CONFIDENT)
        adversarial = wrong & self.right[there]
        there, row = there[adversarial], row[adversarial]
        before, after, w = self.clean_log_kappa[there], self.log_kappa[row], self.weight[there]
        with np.errstate(invalid="ignore"):
            ratio = after - before

        def median(values: np.ndarray) -> float:
            return float(np.exp(_reduce.weighted_quantile(values, 0.5, w)))

        return {
            "n_adversarial": int(there.size),
            "kappa_clean": median(before),
            "kappa_adv": median(after),
            "flatness_ratio": median(ratio),
            "flat_fraction": _reduce.weighted_share(after < before, ~np.isnan(ratio), w),
            "confidently_wrong_fraction": _reduce.weighted_share(confident, evaluated, self.weight),
        }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
