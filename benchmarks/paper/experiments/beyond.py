"""Beyond the paper: the bracket, its bound and the repaired one, three definitions of κ, medians, float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import art_flat as af
from art_flat.reporting import plot_bracket

from .outcome import Case, Effect, Outcome
from .scaling import share_of_underflow, sweep_figure

DEFINITIONS = ("paper", "neuronwise", "unsquared")


def beyond(cases: dict[str, Case], settings: dict[str, Any]) -> Outcome:
    """Everything on the points of one attack at several radii."""
    brackets, definitions, sweeps, figures = [], [], [], {}
    for case in cases.values():
        for seed, x, y in case.blocks(settings):
            results = af.evaluate(
                {case.name: case.net}, x, y, attacks=["art_flat:PGD(steps=20)", settings["attack"]],
                deltas={settings["norm"]: settings["small_deltas"]}, epsilons=[0.1, float(np.log(2))], seed=seed,
            )  # fmt: skip
            brackets.append(results.summary().assign(seed=seed))
            definitions += [
                {"net": case.name, "seed": seed, **row} for row in _definitions(results, settings)
            ]
        figures[f"bracket-{case.name}"] = plot_bracket(results)  # of the last seed
    case = next(iter(cases.values()))
    for seed, x, y in case.blocks(settings):
        sweep = af.scale_sweep(
            case.net, settings["attack"], x, y, delta=settings["delta"], norm=settings["norm"],
            scales=settings["scales"], seed=seed,
        )  # fmt: skip
        sweeps.append(sweep.frame().assign(seed=seed))
    bracket, kinds, scaled = pd.concat(brackets), pd.DataFrame(definitions), pd.concat(sweeps)
    wanted = [c for c in bracket.columns if c.startswith(("loss_change_robustness@", "certified"))]
    wanted += ["robust_accuracy", "paper_bound_exceeded", "bound_violations", "bound_tightness"]
    shown = bracket.groupby(["model", "attack", "delta"], sort=False)[wanted].mean().reset_index()
    means = scaled[["seed", "scale", "log_kappa_clean_q50", "kappa_mean"]].assign(
        median=np.exp(scaled["log_kappa_clean_q50"])
    )
    high = scaled[scaled["scale"] == max(settings["scales"])]
    low = scaled[scaled["scale"] == min(settings["scales"])]
    gaps = share_of_underflow(high)
    ours = bracket[bracket["attack"].str.startswith("art_flat")]
    exceeded = ours.groupby("seed")["paper_bound_exceeded"].max().tolist()
    first = kinds[kinds["net"] == case.name].pivot_table(index="seed", columns="definition", values="change")
    ratio = high["kappa_mean"].to_numpy() / low["kappa_mean"].to_numpy()
    effects = [
        Effect("bracket: certified minus empirical share, largest", _gap(ours), "below", 1e-12),
        Effect("records above the repaired bound", ours.groupby("seed")["bound_violations"].sum().tolist(),
               "below", 0.5),
        Effect("share of records above the paper's bound, largest", exceeded),
        *(Effect(f"{case.name}: median Δ log κ, {d}", first[d].tolist(), "below") for d in DEFINITIONS),
        Effect("log of mean κ at s = 100 over mean κ at s = 1", np.log(ratio).tolist()),
        Effect("log of median κ at s = 100 over median κ at s = 1",
               (high["log_kappa_clean_q50"].to_numpy() - low["log_kappa_clean_q50"].to_numpy()).tolist(), "below"),
        Effect("gradient 0 at s = 100 in float32 only", gaps["underflow"].tolist()),
        Effect("gradient 0 at s = 100 also in float64", gaps["both"].tolist()),
    ]  # fmt: skip
    more = {
        "definitions": kinds.groupby(["net", "definition"], sort=False).mean(numeric_only=True).reset_index(),
        "means": means.groupby("scale").mean(numeric_only=True).drop(columns="seed").reset_index(),
        "float": high[
            ["seed", "zero_gradients", "zero_gradients_float64", "robust_accuracy", "transfer_success"]
        ],
    }
    return Outcome(shown, effects, figures | {"scales": sweep_figure(case, scaled)}, more)


def _gap(bracket: pd.DataFrame) -> list[float]:
    gaps = [
        bracket[f"certified@{e}"] - bracket[f"loss_change_robustness@{e}"]
        for e in (c.split("@")[1] for c in bracket.columns if c.startswith("certified@"))
    ]
    return pd.concat(gaps).groupby(pd.concat([bracket["seed"]] * len(gaps)).to_numpy()).max().tolist()


def _definitions(results: af.Results, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The same wrong points by the three definitions of κ."""
    rows, logs = [], {}
    for definition in DEFINITIONS:
        records = results.records(definition)
        right = records["pred_clean"] == records["label"]
        wrong = (
            right & (records["pred_adv"] != records["label"]) & (records["delta"] == records["delta"].max())
        )
        seen = records[wrong]
        logs[definition] = (seen["log_kappa_adv"] - seen["log_kappa_clean"]).to_numpy()
        agreement = spearmanr(logs["paper"], logs[definition])[0] if len(seen) > 2 else float("nan")
        rows.append({
            "definition": definition, "n": len(seen), "change": float(np.median(logs[definition])),
            "flatter": float((logs[definition] < 0).mean()), "rank_correlation_with_paper": float(agreement),
        })  # fmt: skip
    return rows
