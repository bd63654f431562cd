"""Sharpness as a detector, by radius, and variations that show why one threshold is not enough."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import art_flat as af
from art_flat.analysis import ScaledHead
from art_flat.detection import COLUMNS, SharpnessClassifier, SharpnessTransformer, detection_table
from art_flat.reporting import plot_detection, plot_kappa

from .outcome import Case, Effect, Outcome
from .valley import traces

STUMP = SharpnessClassifier()
FEATURES = {
    "stump": (STUMP, ("log_kappa",)),
    "stump_on_gini": (STUMP, ("log_gini",)),
    "stump_on_feature_norm": (STUMP, ("log_feature_norm",)),
    "logistic_regression": (make_pipeline(StandardScaler(), LogisticRegression()), COLUMNS),
}


def detection(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """A decision stump on log κ tells adversarial points from clean ones."""
    case = next(iter(cases.values()))
    table = _table(case, settings, settings["deltas"])
    columns = ["n", "log_kappa_change", "stump", "two_thresholds", "logistic_regression"]
    shown = table.groupby("delta")[columns].mean().reset_index()
    best = shown.loc[shown["stump"].idxmax(), "delta"]
    at = table[table["delta"] == best]["stump"].tolist()
    papers = table[np.isclose(table["delta"], 8 / 255)]["stump"].tolist()
    effects = [
        Effect(f"stump at the best radius, {best:.4f}", at, "above", 0.9, "0.92–0.93"),
        Effect("stump at 8/255", papers, "above", 0.9, "0.92–0.93"),
    ]
    figures = {"radii": plot_detection(table)}
    rows = []
    for one in settings.get("tried", []):
        mine = settings | one
        if mine.get("net", case.name) in cases:
            rows.append({"what": one["what"], **_tried(cases[mine.get("net", case.name)], mine)})
    if rows:
        rows += [
            {"what": f"the {name} iterate instead of the last", **_over_seeds(stump)}
            for name, stump in _on_the_way(case, settings).items()
        ]
        by_class = _over_seeds(_by_class(case, settings))
        rows.append({"what": "a threshold per predicted class; interval over folds, not seeds", **by_class})
        x, y = (np.concatenate(part) for part in zip(*(b[1:] for b in case.blocks(settings)), strict=True))
        results = af.evaluate({case.name: case.net}, x, y, attacks=[settings["attack"]],
                              deltas={settings["norm"]: [settings["delta"]]}, seed=0, certify=None)  # fmt: skip
        figures["kappa"] = plot_kappa(results)
    return Outcome(shown, effects, figures, {"tried": pd.DataFrame(rows)} if rows else {})


def _table(case: Case, settings: dict[str, Any], deltas: list[Any], detectors: Any = None) -> pd.DataFrame:
    net = ScaledHead(case.net, settings["scale"]) if "scale" in settings else case.net
    return pd.concat(
        detection_table(
            net, x, y, settings["attack"], deltas, norm=settings["norm"], seed=seed, detectors=detectors,
            definition=settings.get("definition", "paper"), successful=settings.get("successful", True),
        ).assign(seed=seed)
        for seed, x, y in case.blocks(settings)
    )  # fmt: skip


def _tried(case: Case, settings: dict[str, Any]) -> dict[str, float]:
    table = _table(case, settings, [settings["delta"]], FEATURES)
    others = table[["n", "log_kappa_change", *list(FEATURES)[1:]]].mean()
    return {**_over_seeds(table["stump"].tolist()), **others.to_dict()}


def _over_seeds(stump: list[float]) -> dict[str, float]:
    low, high = Effect("", stump).interval
    return {"stump": float(np.nanmean(stump)), "95 % low": low, "95 % high": high}


def _on_the_way(case: Case, settings: dict[str, Any]) -> dict[str, list[float]]:
    """Accuracy per seed on the first wrong and on the sharpest point of every trajectory."""
    found: dict[str, list[float]] = {"first wrong": [], "sharpest": []}
    for seed, seen in enumerate(traces(case, settings)):
        valley, log_kappa = seen.valley(), seen.frame().set_index(["sample", "step"])["log_kappa"]
        hit = valley[valley["right_clean"] & valley["success"] & valley["flip_step"].notna()]
        flip = log_kappa.loc[list(zip(hit["sample"], hit["flip_step"].astype(int), strict=True))]
        for name, at in zip(found, (flip, hit["log_kappa_peak"]), strict=True):
            pair = np.stack([hit["log_kappa_clean"], at])
            found[name].append(float(np.mean(_by_fold(pair, np.zeros(pair.shape, int), seed))))
    return found


def _by_class(case: Case, settings: dict[str, Any]) -> list[float]:
    """Accuracy per fold of one threshold on log κ for every predicted class."""
    pairs, classes = [], []
    transformer = SharpnessTransformer(case.net, columns=["log_kappa"])
    attack = af.load_attack(settings["attack"])
    for seed, x, y in case.blocks(settings):
        result = attack(case.net, x, y, delta=settings["delta"], norm=settings["norm"], seed=seed)
        predicted = [np.asarray(case.net.estimator.predict(p)).argmax(axis=1) for p in (x, result.x)]
        kept = np.asarray(result.success) & (predicted[0] == y)
        pairs.append(np.stack([transformer.fit_transform(p)[kept, 0] for p in (x, result.x)]))
        classes.append(np.stack(predicted)[:, kept])
    return _by_fold(np.concatenate(pairs, axis=1), np.concatenate(classes, axis=1), 0)


def _by_fold(pair: np.ndarray, group: np.ndarray, seed: int) -> list[float]:
    """Balanced accuracy in five folds of pairs (2, n), with a stump for every group of points."""
    found, label = [], np.repeat([[0], [1]], pair.shape[1], axis=1)
    for train, test in KFold(5, shuffle=True, random_state=seed).split(pair[0]):
        right = []
        for g in np.unique(group[:, test]):
            known, asked = group[:, train] == g, group[:, test] == g
            stump = SharpnessClassifier().fit(pair[:, train][known][:, None], label[:, train][known])
            right.append(stump.predict(pair[:, test][asked][:, None]) == label[:, test][asked])
        found.append(float(np.concatenate(right).mean()))
    return found
