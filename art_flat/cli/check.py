"""`art-flat check`: what a run would use, seen before it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._utils.formatting import counted, percent
from ..attacks import list_attacks, load_attacks
from ..datasets import Dataset
from ..diagnostics import Finding, diagnose
from ..evaluation import evaluate
from ..evaluation.radii import check_deltas

N_CHECKED = 100
"""Number of samples for the accuracy and the findings, the first ones."""

_CONTROL = "art_flat:UniformNoise"
"""Costs one pass per radius; the findings need points."""


def model_lines(name: str, net: Any, data: Dataset) -> list[str]:
    """What a model is: its head, its accuracy on the first samples, and its clip range.

    Args:
        name: Its name.
        net: The adapted classifier.
        data: The samples.

    Returns:
        The lines.
    """
    x, y = np.asarray(data.x[:N_CHECKED]), np.asarray(data.y[:N_CHECKED])
    weight = net.head.weight
    accuracy = float((np.asarray(net.predict(x)) == y).mean())
    low, high = (f"{float(np.min(v)):.4g}…{float(np.max(v)):.4g}" for v in zip(*_ranges(net, x), strict=True))
    classes, features = weight.shape
    return [
        f"model {name}: {type(net.estimator).__name__}",
        f"  head: {counted(features, 'feature')} → {counted(classes, 'class')}, ‖W‖ = "
        f"{float(weight.double().norm()):.3g}; verified",
        f"  accuracy: {percent(accuracy)} of the first {counted(len(x), 'sample')}",
        f"  clip range: {low}; these samples are in {high}",
    ]


def _ranges(net: Any, x: np.ndarray) -> list[tuple[Any, Any]]:
    limits = (-np.inf, np.inf) if net.clip_values is None else net.clip_values
    return list(zip([np.asarray(v) for v in limits], [x.min(), x.max()], strict=True))


def findings_before(models: Mapping[str, Any], data: Dataset, options: Mapping[str, Any]) -> list[Finding]:
    """Findings about models, data and radii that need no attack, on the first samples.

    Args:
        models: Model name → adapted classifier.
        data: The samples.
        options: The further arguments of `evaluate`.

    Returns:
        The findings, the most severe first.
    """
    norms = list_attacks("art_flat")[_CONTROL].norms
    radii = check_deltas(options["deltas"], load_attacks(options["attacks"]))
    deltas = {norm: list(values) for norm, values in radii.items() if norm in norms}
    if not deltas:
        return []
    x, y = data.x[:N_CHECKED], data.y[:N_CHECKED]
    results = evaluate(
        models, x, y, attacks=_CONTROL, deltas=deltas, epsilons=options["epsilons"], lipschitz=None,
        certify=None, seed=options["seed"], progress=False,
    )  # fmt: skip
    return diagnose(results, models, x, y)


def report_check(
    models: Mapping[str, Any], data: Dataset, options: Mapping[str, Any], notify: Callable[[str], None]
) -> bool:
    """Report what a run would use, and what looks wrong.

    Args:
        models: Model name → adapted classifier.
        data: The samples.
        options: The further arguments of `evaluate`.
        notify: Called with each line.

    Returns:
        Whether nothing makes the results meaningless.
    """
    for name, net in models.items():
        for line in model_lines(name, net, data):
            notify(line)
    findings = findings_before(models, data, options)
    for finding in findings:
        notify("  " + " ".join(str(finding).split()))
    if not findings:
        notify("nothing suspicious")
    return all(finding.severity != "error" for finding in findings)
