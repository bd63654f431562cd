"""Scores of a large run from its records, no model run: 1,500,000 rows, 50 values of ε."""

from __future__ import annotations

import numpy as np

from art_flat.evaluation import Results
from art_flat.records.schema import ADVERSARIAL, CLEAN, make_frame

from ._harness import Row, Settings, median_seconds


def records(n: int, attacks: int, radii: int) -> Results:
    """Random records: n samples, each attacked by every attack at every radius."""
    rng = np.random.default_rng(0)
    names, grid = [f"library:A{i}" for i in range(attacks)], [(i + 1) / 100 for i in range(radii)]

    def numbers(kinds, size):
        return {c: rng.exponential(size=size) for c, kind in kinds.items() if str(kind) == "double"}

    keys = {
        "model": "m",
        "sample": np.arange(n),
        "label": rng.integers(0, 10, n),
        "pred": rng.integers(0, 10, n),
    }
    clean = make_frame("clean", {**numbers(CLEAN, n), **keys, "weight": 1.0}, n)
    rows = n * attacks * radii
    delta = np.repeat(np.tile(grid, attacks), n)
    keys = {
        "model": "m",
        "source_model": "m",
        "sample": np.tile(np.arange(n), attacks * radii),
        "attack": np.repeat(names, radii * n),
        "norm": "Linf",
        "delta": delta,
        "status": "ok",
        "pred": rng.integers(0, 10, rows),
        "linf": delta * rng.random(rows),
    }
    adversarial = make_frame("adversarial", {**numbers(ADVERSARIAL, rows), **keys}, rows)
    models = make_frame("models", {"model": "m", "nb_classes": 10, "nb_features": 128, "weight_norm": 3.0}, 1)
    tables = {
        "models": models,
        "clean": clean,
        "adversarial": adversarial,
        "certified": make_frame("certified", {}, 0),
    }
    facts = {"attacks": [{"name": name, "maximises_loss": True} for name in names], "n_samples": n}
    return Results(**tables, facts={**facts, "deltas": {"Linf": grid}, "epsilons": [0.1]})


def measure(settings: Settings) -> list[Row]:
    results = records(settings.size(10_000, 50), 10, 15)
    levels = np.linspace(0, 2, 50).tolist()
    seconds = median_seconds(lambda: results.summary(levels), settings, most=7)
    what = f"`results.summary` of {len(results.adversarial):,} records for {len(levels)} values of ε"
    note = "every column of the summary: ten attacks and the worst of all, at fifteen radii"
    return [Row(what, "", f"{seconds:.2f} s", "< 2 s", seconds < 2, note, {"seconds": seconds})]
