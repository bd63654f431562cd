"""Beyond the paper: the bracket, its bound and the repaired one, two definitions of κ on the same points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from art_flat import Results
from art_flat.reporting import plot_bracket

from .detection import paired
from .outcome import Effect, Measured, Outcome, per_seed


def beyond(measured: Measured) -> Outcome:
    """Everything on the points of two attacks at several radii."""
    effects, figures, shown, kinds = [], {}, [], []
    for title, summary in measured.groups("summary"):
        first = summary["attack"].iloc[0]
        ours = summary[summary["attack"] == first]
        effects += [
            Effect(f"{title}: certified minus empirical share, largest", per_seed(ours, _gap), "below", 1e-12,
                   always=True),
            Effect(f"{title}: records above the repaired bound",
                   per_seed(ours, lambda s: s["bound_violations"].sum()), "below", 0.5, always=True),
            Effect(f"{title}: share of records above the paper's bound, largest",
                   per_seed(ours, lambda s: s["paper_bound_exceeded"].max())),
        ]  # fmt: skip
        wanted = [c for c in summary.columns if c.startswith(("loss_change_robustness@", "certified"))]
        wanted += ["robust_accuracy", "paper_bound_exceeded", "bound_violations", "bound_tightness"]
        means = summary.groupby(["attack", "delta"], sort=False)[wanted].mean(numeric_only=True)
        shown.append(means.reset_index().assign(net=title).set_index("net").reset_index())
    for title, records in measured.groups("records"):
        kinds += [
            {"net": title, "seed": seed, **_definitions(part)} for seed, part in records.groupby("seed")
        ]
    for (what, net, _), folder in measured.folders.items():
        figures[f"bracket {net} {what}".strip()] = plot_bracket(
            Results.load(folder / "run")
        )  # of the last seed
    definitions = pd.DataFrame(kinds).groupby("net", sort=False).mean(numeric_only=True).drop(columns="seed")
    return Outcome(pd.concat(shown), effects, figures, {"definitions": definitions.reset_index()})


def _gap(summary: pd.DataFrame) -> float:
    gaps = [
        summary[f"certified@{e}"] - summary[f"loss_change_robustness@{e}"]
        for e in (c.split("@")[1] for c in summary.columns if c.startswith("certified@"))
    ]
    return float(pd.concat(gaps).max())


def _definitions(records: pd.DataFrame) -> dict[str, Any]:
    """The same wrong points by two definitions of κ; `unsquared` differs from the paper's by a constant of the net."""
    pairs = paired(records[records["delta"] == records["delta"].max()])
    paper = pairs["log_kappa_adv"] - pairs["log_kappa_clean"]
    neuronwise = pairs["log_kappa_neuronwise_adv"] - pairs["log_kappa_neuronwise_clean"]
    return {
        "n": len(pairs), "change_paper": float(paper.median()), "change_neuronwise": float(neuronwise.median()),
        "flatter_paper": float((paper < 0).mean()), "flatter_neuronwise": float((neuronwise < 0).mean()),
        "rank_correlation": float(spearmanr(paper, neuronwise)[0]) if len(pairs) > 2 else np.nan,
    }  # fmt: skip
