"""Attackers who know that flatness is watched: detectors at a fixed false positive rate, and flatness as a penalty."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

import art_flat as af
from art_flat._utils.formatting import radius_text
from art_flat._utils.numbers import check_delta
from art_flat.detection import default_detectors, detection_table
from art_flat.models import as_classifier
from art_flat.regularization import FlatnessRegularizer

from .measures import Tables
from .outcome import Case, Effect, Measured, Outcome

DETECTORS = tuple(default_detectors())


def watched(
    cases: Sequence[Case],
    seed: int,
    folder: Path,
    *,
    attack: str,
    norm: str,
    deltas: list[Any],
    false_positive_rate: float,
    delta: Any,
    steps: int,
    penalty: dict[str, Any],
) -> Tables:
    """Detectors under attacks that do and do not know them, four goals of an attacker, copies trained for flatness."""
    (case,) = cases
    rates = detection_table(
        case.net, case.x, case.y, attack, [check_delta(d) for d in deltas], norm=norm, seed=seed, adaptive=True,
        false_positive_rate=false_positive_rate,
    )  # fmt: skip
    ball = {"norm": norm, "seed": seed}
    goals = _goals(case, steps, ball | {"delta": delta})
    return {
        "rates": rates,
        "goals": pd.DataFrame(goals),
        "penalty": pd.DataFrame(_penalised(case, penalty, ball | {"delta": penalty["delta"]})),
    }


def adaptive(measured: Measured) -> Outcome:
    """A detector of sharpness and a flatness penalty against attacks that know them."""
    rate = measured.settings["false_positive_rate"]
    table, goals, penalty = (measured.tables[name] for name in ("rates", "goals", "penalty"))
    rates = [f"{name}_{kind}" for name in DETECTORS for kind in ("tpr", "adaptive_tpr")]
    columns = ["n", "log_kappa_change", *DETECTORS, *rates]
    shown = table.groupby(["net", "delta"], sort=False)[columns].mean().reset_index()
    far = table[table["delta"] == table["delta"].max()]
    effects = [
        *(
            Effect(f"{name}: plain true positive rate", far[f"{name}_tpr"].tolist(), "above", rate)
            for name in DETECTORS
        ),
        *(
            Effect(f"{name}: adaptive true positive rate", far[f"{name}_adaptive_tpr"].tolist(), "below", 2 * rate)
            for name in DETECTORS
        ),
        Effect(
            "share of attacked points within the range of clean points",
            goals[goals["goal"] == "loss within range"]["in_range"].tolist(), "above", 0.9,
        ),
        Effect(
            "share of attacked points sharper than every clean point but 5 %",
            goals[goals["goal"] == "sharp"]["above_range"].tolist(), "above", 0.5,
        ),
        *_penalty_effects(penalty),
    ]  # fmt: skip
    more = {
        "goals": goals.groupby("goal", sort=False).mean(numeric_only=True).drop(columns="seed").reset_index(),
        "penalty": penalty.groupby("strength").mean(numeric_only=True).drop(columns="seed").reset_index(),
    }
    return Outcome(shown, effects, {"rates": _figure(shown, rate)}, more)


def _goals(case: Case, steps: int, ball: dict[str, Any]) -> list[dict[str, Any]]:
    """The same steps for four goals: what they find among clean-correct points that become wrong."""
    x, y = case.x, case.y
    clean = case.net.log_relative_sharpness(x)
    low, high = (float(q) for q in np.quantile(clean, [0.05, 0.95]))
    goals = {
        "loss": {},
        "loss within range": {"within": {"log_kappa": (low, high)}},
        "sharp": {"objective": "sharp"},
        "flat": {"objective": "flat"},
    }
    rows = []
    for goal, params in goals.items():
        attack = af.load_attack("art_flat:APGD", steps=steps, **params)
        found = attack(case.net, x, y, **ball)
        right = case.net.predict(x) == y
        hit = right & found.success
        log_kappa = case.net.log_relative_sharpness(found.x)
        increase = case.net.loss(found.x, y) - case.net.loss(x, y)
        rows.append({
            "goal": goal, "fooled": float(hit.sum() / right.sum()),
            "loss_increase": float(np.median(increase[hit])),
            "log_kappa_change": float(np.median((log_kappa - clean)[hit])),
            "in_range": float(((log_kappa >= low) & (log_kappa <= high))[hit].mean()),
            "above_range": float((log_kappa > high)[hit].mean()),
        })  # fmt: skip
    return rows


def _penalised(case: Case, settings: dict[str, Any], ball: dict[str, Any]) -> list[dict[str, Any]]:
    """Copies trained on with the flatness penalty, attacked by one step, by several and by transfer."""
    x, y = case.x, case.y
    transferred = af.load_attack(settings["attacks"]["apgd"])(case.net, x, y, **ball)
    rows = []
    for strength in settings["strengths"]:
        net = _trained_on(case, settings, strength, ball["seed"])
        row = {"strength": strength, "accuracy": float((net.predict(x) == y).mean())}
        row["median_log_kappa"] = float(np.median(net.log_relative_sharpness(x)))
        for name, attack in settings["attacks"].items():
            found = af.load_attack(attack)(net, x, y, **ball)
            row[f"robust_{name}"] = float((net.predict(found.x) == y).mean())
        row["robust_transfer"] = float((net.predict(transferred.x) == y).mean())
        rows.append(row)
    return rows


def _trained_on(case: Case, settings: dict[str, Any], strength: float, seed: int) -> Any:
    """A copy of the net, trained on with training images; batch norm keeps its statistics."""
    assert case.training is not None
    data, estimator = case.training(), case.net.estimator
    model = copy.deepcopy(estimator.model).eval()
    x, y = (torch.as_tensor(np.asarray(part[: settings["n"]])) for part in (data.x, data.y))
    optimizer = torch.optim.SGD(model.parameters(), lr=settings["learning_rate"], momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings["epochs"]):
        for batch in torch.randperm(len(x), generator=generator).split(settings["batch"]):
            optimizer.zero_grad()
            with FlatnessRegularizer(model, strength) as penalty:
                logits = model(case.net.preprocessing(x[batch]))
                (nn.functional.cross_entropy(logits, y[batch]) + penalty(logits)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), settings["largest_gradient"])
            optimizer.step()
    return af.adapt(
        as_classifier(
            model, input_shape=case.net.input_shape, nb_classes=case.net.nb_classes,
            clip_values=case.net.clip_values, preprocessing=estimator.preprocessing,
        )
    )  # fmt: skip


def _penalty_effects(penalty: pd.DataFrame) -> list[Effect]:
    strongest = penalty[penalty["strength"] == penalty["strength"].max()]
    without = penalty[penalty["strength"] == penalty["strength"].min()]
    flatter = strongest["median_log_kappa"].to_numpy() - without["median_log_kappa"].to_numpy()
    masked = strongest["robust_one_step"] - strongest["robust_apgd"]
    transfer = strongest["robust_transfer"].tolist()
    return [
        Effect("penalised net: median log κ minus that without", flatter.tolist(), "below"),
        Effect("penalised net: robust accuracy under APGD", strongest["robust_apgd"].tolist(), "below", 0.05),
        Effect("penalised net: robust accuracy under transfer from the net without", transfer, "below", 0.2),
        Effect("penalised net: robust accuracy, one step minus APGD", masked.tolist(), "above"),
    ]


def _figure(shown: pd.DataFrame, rate: float) -> Any:
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, name in zip(("C0", "C1", "C2"), DETECTORS, strict=True):
        axes.plot(shown["delta"], shown[f"{name}_tpr"], "o-", color=colour, label=name.replace("_", " "))
        axes.plot(shown["delta"], shown[f"{name}_adaptive_tpr"], "s--", color=colour)
    axes.axhline(rate, color="grey", lw=1, ls=":")
    axes.set(
        xlabel="radius δ (L∞)", ylabel=f"true positive rate at {rate:.0%} false ones", ylim=(-0.02, 1.02)
    )
    axes.set_xticks(shown["delta"], [radius_text(delta) for delta in shown["delta"]])
    axes.set_title("solid: plain attack; dashed: knows the detector", fontsize="small")
    axes.legend(frameon=False, fontsize="small")
    return figure
