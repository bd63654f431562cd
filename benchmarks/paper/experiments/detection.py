"""Sharpness as a detector, by radius; whether κ tells more than confidence and the loss do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.stats import linregress, spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from art_flat import Results
from art_flat._utils.formatting import radius_text
from art_flat.detection import SharpnessClassifier
from art_flat.reporting import plot_detection, plot_kappa

from .outcome import Effect, Measured, Outcome

QUANTITIES = ("log_kappa", "log_gini", "log_feature_norm")
CALIPER = 0.25
"""Largest difference of log G between a clean and an adversarial point that are called equally confident."""
FEWEST_PAIRS = 10
"""Equally confident pairs that every seed must have for an area under the curve."""


def detection(measured: Measured) -> Outcome:
    """A decision stump on log κ tells adversarial points from clean ones."""
    tables, effects = [], []
    for title, records in measured.groups("records"):
        rows = [
            {"net": title, "attack": attack, "norm": norm, "delta": delta, "seed": seed,
             **detectors(paired(part), seed)}
            for (attack, norm, delta, seed), part in records.groupby(["attack", "norm", "delta", "seed"])
        ]  # fmt: skip
        table = pd.DataFrame(rows)
        at = at_headline(table)
        effects += [
            Effect(f"{title}: stump", at["stump"].tolist(), "above", 0.9, "0.92–0.93"),
            Effect(f"{title}: area under the curve", at["auc"].tolist(), "above", 0.9),
        ]
        tables.append(table)
    seeds = pd.concat(tables)
    shown = seeds.groupby(["net", "delta"], sort=False).mean(numeric_only=True).drop(columns="seed")
    first = measured.folders[next(iter(measured.folders))]
    drawn = [
        "attack",
        "norm",
        "delta",
        "seed",
        "stump",
        "stump_on_gini",
        "stump_on_feature_norm",
        "logistic_regression",
    ]
    figures = {"radii": plot_detection(tables[0][drawn]), "kappa": plot_kappa(Results.load(first / "run"))}
    return Outcome(shown.reset_index(), effects, figures)


def at_headline(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at 8/255, or at the largest radius where that was not measured."""
    paper = np.isclose(rows["delta"], 8 / 255)
    return rows[paper if paper.any() else rows["delta"] == rows["delta"].max()]


def paired(records: pd.DataFrame) -> pd.DataFrame:
    """Clean-correct samples whose adversarial point is wrong, with the factors of κ at both points."""
    usable = (records["status"] != "failed") & records["within_budget"].astype(bool)
    right = records["pred_clean"] == records["label"]
    pairs = records[usable & right & (records["pred_adv"] != records["label"])].copy()
    for at in ("clean", "adv"):
        pairs[f"log_feature_norm_{at}"] = np.log(pairs[f"feature_norm_{at}"])
        pairs[f"log_gini_{at}"] = pairs[f"log_trace_{at}"] - 2 * pairs[f"log_feature_norm_{at}"]
    return pairs.reset_index(drop=True)


def detectors(pairs: pd.DataFrame, seed: int) -> dict[str, float]:
    """Balanced accuracy in five folds of pairs; area and rate for 'adversarial where flatter'."""
    if len(pairs) < 5:
        return {"n": len(pairs)}
    change = pairs["log_kappa_adv"] - pairs["log_kappa_clean"]
    stump, logistic = SharpnessClassifier(), make_pipeline(StandardScaler(), LogisticRegression())
    flatness, label = -_stacked(pairs, ["log_kappa"])[:, 0], np.repeat([0, 1], len(pairs))
    false, true, _ = roc_curve(label, flatness)
    return {
        "n": len(pairs),
        "log_kappa_change": float(change.median()),
        "stump": _accuracy(stump, pairs, ["log_kappa"], seed),
        "auc": float(roc_auc_score(label, flatness)),
        "tpr_at_5_fpr": float(true[false <= 0.05].max()),
        "stump_neuronwise": _accuracy(stump, pairs, ["log_kappa_neuronwise"], seed),
        "stump_on_gini": _accuracy(stump, pairs, ["log_gini"], seed),
        "stump_on_feature_norm": _accuracy(stump, pairs, ["log_feature_norm"], seed),
        "logistic_regression": _accuracy(logistic, pairs, ["log_kappa", "log_feature_norm", "log_gini"], seed),
    }  # fmt: skip


def _stacked(pairs: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """The clean points, then the adversarial ones, shape (2n, columns)."""
    return np.concatenate([pairs[[f"{c}_{at}" for c in columns]].to_numpy() for at in ("clean", "adv")])


def _accuracy(detector: Any, pairs: pd.DataFrame, columns: list[str], seed: int) -> float:
    n = len(pairs)
    split = KFold(5, shuffle=True, random_state=seed).split(np.arange(n))
    both = [(np.r_[train, train + n], np.r_[test, test + n]) for train, test in split]
    scores = cross_val_score(
        detector, _stacked(pairs, columns), np.repeat([0, 1], n), cv=both, scoring="balanced_accuracy"
    )
    return float(scores.mean())


def confidence(measured: Measured) -> Outcome:
    """Whether κ separates at matched confidence, and whether the loss alone says how flat the end is."""
    rows, effects = [], []
    for title, records in measured.groups("records"):
        found = pd.DataFrame(
            {"net": title, "delta": delta, "seed": seed, **matched(paired(part)), **predicted(paired(part))}
            for (delta, seed), part in records.groupby(["delta", "seed"])
        )
        at, overlapping = at_headline(found), _largest_with_pairs(found)
        radius = radius_text(overlapping["delta"].iloc[0])
        effects += [
            Effect(f"{title}: area under the curve of κ, all points", at["auc"].tolist(), "above", 0.9),
            Effect(f"{title}: area under the curve of κ, matched confidence, δ {radius}",
                   overlapping["auc_matched"].tolist(), "above", 0.5),
            Effect(f"{title}: R² of log κ at the end by the loss alone", at["r2_loss"].tolist(), "above", 0.5),
        ]  # fmt: skip
        rows.append(found)
    table = pd.concat(rows).groupby(["net", "delta"], sort=False).mean(numeric_only=True).drop(columns="seed")
    records = next(iter(measured.groups("records")))[1]
    return Outcome(table.reset_index(), effects, {"loss": _loss_figure(paired(at_headline(records)))})


def _largest_with_pairs(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of the largest radius at which every seed has enough equally confident pairs; else of the smallest."""
    enough = found.groupby("delta")["n_matched"].min() >= FEWEST_PAIRS
    return found[found["delta"] == max(enough.index[enough], default=found["delta"].min())]


def matched(pairs: pd.DataFrame) -> dict[str, float]:
    """Areas under the curve of 'adversarial where flatter', for all points and for equally confident ones.

    Confidence is compared by log G, G = 1 − Σp², which resolves it where 1 − max p underflows. Each adversarial point
    is paired with a clean point, of any image, each used once, so that the sum of differences is least.
    """
    if len(pairs) < 5:
        return {"n": len(pairs)}
    clean, adversarial = pairs["log_gini_clean"].to_numpy(), pairs["log_gini_adv"].to_numpy()
    gaps = np.minimum(np.abs(adversarial[:, None] - clean), 10 * CALIPER)
    i, j = linear_sum_assignment(gaps)
    close = gaps[i, j] <= CALIPER
    i, j = i[close], j[close]
    found = {"n": len(pairs), "n_matched": len(i)}
    for quantity in QUANTITIES:
        ends = pairs[f"{quantity}_clean"].to_numpy(), pairs[f"{quantity}_adv"].to_numpy()
        found["auc" + _suffix(quantity)] = _area(*ends)
        found["auc_matched" + _suffix(quantity)] = _area(ends[0][j], ends[1][i])
    return found


def _suffix(quantity: str) -> str:
    return "" if quantity == "log_kappa" else "_" + quantity.removeprefix("log_")


def _area(clean: np.ndarray, adversarial: np.ndarray) -> float:
    if len(clean) < 5:
        return float("nan")
    return float(roc_auc_score(np.repeat([0, 1], len(clean)), -np.concatenate([clean, adversarial])))


def predicted(pairs: pd.DataFrame) -> dict[str, float]:
    """How far the loss at the adversarial points says how flat they are.

    As G = Σ p(1 − p) ≥ 2 p_y (1 − p_y) and p_y = e^−ℓ, κ ≥ ‖W‖²‖φ‖²·2 e^−ℓ (1 − e^−ℓ): no point is flatter than its
    loss allows. `excess` is the median of log κ above this floor.
    """
    if len(pairs) < 5:
        return {}
    loss, log_kappa = pairs["loss_adv"].to_numpy(), pairs["log_kappa_adv"].to_numpy()
    line = linregress(loss, log_kappa)
    floor = np.log(2) - loss + np.log(-np.expm1(-loss))
    return {
        "r2_loss": float(line.rvalue**2),
        "slope": float(line.slope),
        "rank_correlation_loss": float(spearmanr(loss, log_kappa)[0]),
        "excess": float((pairs["log_gini_adv"] - floor).median()),
        "excess_min": float((pairs["log_gini_adv"] - floor).min()),
        "true_class_second": float((pairs["log_gini_adv"] - floor < np.log(2)).mean()),
    }


def _loss_figure(pairs: pd.DataFrame) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(pairs["loss_adv"], pairs["log_gini_adv"], s=6, alpha=0.5, label="adversarial points")
    line = np.linspace(np.log(2), pairs["loss_adv"].max(), 50)
    axes.plot(
        line,
        np.log(2) - line + np.log(-np.expm1(-line)),
        color="black",
        label="floor: log 2p(1 − p), p = e^−ℓ",
    )
    axes.set(xlabel="loss ℓ at the adversarial point (nats)", ylabel="log κ/(‖W‖²‖φ‖²)")
    axes.legend()
    return figure
