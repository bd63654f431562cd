"""The summary of random records against one row at a time."""

import math

import numpy as np
import pandas as pd
import pytest
from sampling import slow

from art_flat.evaluation import ALL_ATTACKS, Results
from art_flat.records.schema import CLEAN, make_frame

N = 8
RADII = {"Linf": [0.1, 0.2, 0.3], "L2": [0.15, 0.4]}
ATTACKS = {"a": "Linf", "b": "L2", "free": "Linf"}


def random_tables(seed):
    rng = np.random.default_rng(seed)
    floats = [c for c, kind in CLEAN.items() if str(kind) == "double" and c != "weight"]
    clean = {c: rng.exponential(size=N) for c in floats}
    clean |= {"sample": 3 * np.arange(N), "label": rng.integers(0, 3, N), "pred": rng.integers(0, 3, N)}
    clean["loss"][-1], clean["pred"][-1] = np.nan, -1
    clean = make_frame("clean", {"model": "m", "weight": rng.random(N), **clean}, N)
    frames = []
    for attack, norm in ATTACKS.items():
        for source in ("m", "other"):
            for delta in RADII[norm] if attack != "free" else [None]:
                columns = {c: rng.exponential(size=N) for c in floats}
                columns |= {c: rng.choice([0.05, 0.1, 0.15, 0.2, 0.3, 0.35], N) for c in ("linf", "l2")}
                columns |= {"feature_shift": rng.random(N), "bound_at_shift": rng.random(N)}
                columns["loss"] = rng.choice([0.2, 0.7, 1.5, np.nan], N)
                columns["status"] = np.where(np.isnan(columns["loss"]), "failed", "ok")
                gone = np.isnan(columns["loss"]) & (rng.random(N) < 0.5)  # the attack gave no point
                for distance in ("linf", "l2"):
                    columns[distance][gone] = np.nan
                columns["status"] = np.where(rng.random(N) < 0.1, "skipped", columns["status"])
                for column in (c for c in columns if c != "status"):
                    columns[column] = np.where(columns["status"] == "skipped", np.nan, columns[column])
                keys = {"model": "m", "source_model": source, "attack": attack, "norm": norm, "delta": delta}
                keys |= {"sample": 3 * np.arange(N), "pred": rng.integers(0, 3, N), "seconds": 0.1}
                frames.append(make_frame("adversarial", {**keys, **columns}, N))
    models = {"model": "m", "nb_classes": 3, "nb_features": 4, "weight_norm": 2.0}
    return {
        "models": make_frame("models", models, 1),
        "clean": clean,
        "adversarial": pd.concat(frames, ignore_index=True),
        "certified": make_frame("certified", {}, 0),
    }


def one_row_at_a_time(tables, cell, epsilon):
    """What the summary should say, from the definitions."""
    norm, delta = cell["norm"], cell["delta"]
    rows = tables["adversarial"]  # in the order of the results, which decides ties
    if cell["attack"] != ALL_ATTACKS:
        rows = rows[(rows["attack"] == cell["attack"]) & (rows["source_model"] == cell["source_model"])]
    total = robust = accurate = 0.0
    increases, ratios, failed, unfinished = [], [], 0, 0
    for _, clean in tables["clean"].iterrows():
        mine = rows[rows["sample"] == clean["sample"]]
        made = (mine["norm"] == norm) & (mine["delta"].isna() | (mine["delta"] == delta))
        lost = math.isnan(clean["loss"])  # the clean output is undefined already
        has_point = mine["linf"].notna()
        failed += int(((mine["status"] == "failed") | (has_point & lost))[made].sum())
        if not has_point[made].any() and not (lost and (mine[made]["status"] != "skipped").any()):
            unfinished += bool(made.any())
            continue
        inside = mine[mine[norm.lower()] <= delta]
        held = inside[inside["loss"].notna()]
        undefined = lost or len(held) < len(inside)
        change = held["loss"] - clean["loss"]
        right = clean["pred"] == clean["label"]
        wrong = held["pred"] != clean["label"]
        total += clean["weight"]
        rise = max(0.0, change.max() if len(held) else 0.0)
        robust += clean["weight"] * (not undefined and rise <= epsilon)
        accurate += clean["weight"] * bool(right and not undefined and not wrong.any())
        least = change[wrong].min() if wrong.any() and not lost else math.inf
        least = min(0.0, least) if not right else least
        if not (undefined and least == math.inf):
            increases.append((least, clean["weight"]))
        own = held[made[held.index]] if not lost else held[:0]
        if len(own):
            top = own[own["loss"] == own["loss"].max()].iloc[-1]
            if right and top["pred"] != clean["label"]:
                ratios.append((top["log_trace"] - clean["log_trace"], clean["weight"]))
    return {
        "n_failed": failed,
        "n_unfinished": unfinished,
        f"loss_change_robustness@{epsilon:g}": robust / total,
        "robust_accuracy": accurate / total,
        "minimum_loss_increase": lower_median(increases),
        "n_adversarial": len(ratios),
        "flatness_ratio": math.exp(lower_median(ratios)),
    }


def lower_median(pairs):
    held, half = 0.0, sum(w for _, w in pairs) / 2
    for value, weight in sorted(pairs):
        held += weight
        if held >= half:
            return value
    return math.nan


@pytest.mark.parametrize("seed", [0, slow(1)])
def test_summary_is_what_the_rows_say(seed):
    tables = random_tables(seed)
    facts = {"attacks": [{"name": a, "maximises_loss": True} for a in ATTACKS]}
    results = Results(**tables, facts={**facts, "deltas": RADII, "epsilons": [0.3], "n_samples": N})
    tables["adversarial"] = results.adversarial
    summary = results.summary()
    assert len(summary) == 6 + 4 + 6 + 3 + 2  # a, b and free from two models; all of them at five radii
    for _, cell in summary.iterrows():
        for column, expected in one_row_at_a_time(tables, cell, 0.3).items():
            assert cell[column] == pytest.approx(expected, rel=1e-12, nan_ok=True), (dict(cell), column)
