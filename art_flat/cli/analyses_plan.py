"""Estimated duration of the analyses of a run, from measurements on a few samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..analysis import radial_profile, scale_sweep, trace_attack
from ..analysis._write_analyses import Analyses
from ..attacks import load_attacks
from ..evaluation.planning import fitted_line

_SIZES = (2, 8)
"""Numbers of samples that are measured."""


def plan_analyses(
    analyses: Analyses, models: Mapping[str, Any], deltas: Mapping[Any, Any], x: np.ndarray, y: np.ndarray
) -> list[tuple[str, float]]:
    """Expected seconds of each analysis.

    Args:
        analyses: The analyses.
        models: Model name → adapted classifier.
        deltas: Norm → radii, clip units.
        x: The samples to analyse, shape (n, ...).
        y: Their labels.

    Returns:
        Title and seconds of each, on one worker.
    """
    costs = []
    for title, runs, function in _jobs(analyses, models, deltas):
        sizes = [min(size, len(x)) for size in _SIZES]
        function(x[:2], y[:2])  # one-time initialisation of libraries
        constant, slope = fitted_line(sizes, [_seconds(function, x[:n], y[:n]) for n in sizes])
        costs.append((title, runs * (constant + slope * len(x))))
    return costs


def _jobs(
    analyses: Analyses, models: Mapping[str, Any], deltas: Mapping[Any, Any]
) -> Iterator[tuple[str, int, Callable[[Any, Any], Any]]]:
    """Title, number of runs, and the function of samples and labels, measured at the largest radius."""
    for model, net in models.items():
        for what, function, specs in (
            ("trajectories", trace_attack, analyses.trajectories),
            ("scale sweep", scale_sweep, analyses.sweeps),
        ):
            for attack in load_attacks(list(specs)) if specs else []:
                for norm in (n for n in deltas if n in attack.info.norms):
                    runs = len(deltas[norm]) if attack.info.budget == "fixed" else 1
                    title = f"{what} of {attack.short_name}, {model}, {norm}"
                    yield title, runs, partial(function, net, attack, delta=max(deltas[norm]), norm=norm)
        if analyses.profile:
            yield f"radial profile of {model}", 1, partial(radial_profile, net)


def _seconds(function: Callable[[Any, Any], Any], x: np.ndarray, y: np.ndarray) -> float:
    began = time.perf_counter()
    function(x, y)
    return time.perf_counter() - began
