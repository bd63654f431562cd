"""What is measured of a net on one block of images; everything expensive is here, and kept by `units`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import art_flat as af
from art_flat.models import build
from art_flat.training import train

from .outcome import Case

Tables = dict[str, pd.DataFrame]


def sweep(
    cases: Sequence[Case], seed: int, folder: Path, *, attack: str, norm: str, delta: Any, scales: list[float]
) -> Tables:
    """One attack on the net with its head scaled: a row per scale, and per scale and sample."""
    (case,) = cases
    found = af.scale_sweep(case.net, attack, case.x, case.y, delta=delta, norm=norm, scales=scales, seed=seed)
    return {"scales": found.frame(), "samples": found.samples}


def trace(cases: Sequence[Case], seed: int, folder: Path, *, attack: str, norm: str, delta: Any) -> Tables:
    """What an attack passes through: a row per sample and step, and per sample."""
    (case,) = cases
    seen = af.trace_attack(case.net, attack, case.x, case.y, delta=delta, norm=norm, seed=seed)
    by_sample = seen.frame().groupby("sample")["loss"]
    valley = seen.valley()
    valley = valley.assign(
        loss_clean=by_sample.first().to_numpy(), loss_end=by_sample.last().to_numpy(),
        weight_norm=float(case.net.head.weight.double().norm()),
    )  # fmt: skip
    how = {"attack": seen.result.attack, "norm": seen.result.norm, "delta": seen.result.delta}
    return {"steps": seen.frame().assign(**how), "valley": valley.assign(**how)}


def attacked(
    cases: Sequence[Case],
    seed: int,
    folder: Path,
    *,
    attacks: list[str],
    deltas: dict[str, list[Any]],
    transfer: bool = False,
) -> Tables:
    """Attacks at several radii: a row per sample, attack and radius; the run itself stays in `folder`."""
    case = cases[0]
    results = af.evaluate(
        {c.name: c.net for c in cases}, case.x, case.y, attacks=attacks, deltas=deltas, seed=seed,
        certify=None, lipschitz=None, transfer=transfer, out=folder / "run", progress=False,
    )  # fmt: skip
    return {"records": results.records()}


def bracketed(
    cases: Sequence[Case], seed: int, folder: Path, *, attacks: list[str], deltas: dict[str, list[Any]]
) -> Tables:
    """Attacks and certificates: the summary at ε = 0.1 and log 2."""
    (case,) = cases
    results = af.evaluate(
        {case.name: case.net}, case.x, case.y, attacks=attacks, deltas=deltas, seed=seed,
        epsilons=[0.1, float(np.log(2))], out=folder / "run", progress=False,
    )  # fmt: skip
    return {"summary": results.summary(), "records": results.records()}


def trained(
    cases: Sequence[Case],
    seed: int,
    folder: Path,
    *,
    factory: str,
    epochs: int,
    training: dict[str, Any],
    attack: str,
    norm: str,
    delta: Any,
) -> Tables:
    """`trace` of a new net of the same architecture, trained with this seed for some epochs."""
    (case,) = cases
    assert case.training is not None
    data = case.training()
    shape = {"input_shape": case.net.input_shape, "nb_classes": case.net.nb_classes}
    classifier = build(factory, seed=seed, **shape)
    train(classifier.model, data.x, data.y, epochs=epochs, seed=seed, **training)
    new = Case(case.name, af.adapt(classifier), case.x, case.y)
    return trace([new], seed, folder, attack=attack, norm=norm, delta=delta)
