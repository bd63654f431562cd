"""The loss increase over a list of radii, where points found at one radius start the search at the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.arrays import to_numpy
from .._utils.numbers import check_delta, check_radii
from .._utils.validation import check_keywords
from ..adapters import Adapter, adapt
from ..attacks import Attack
from ..attacks.suite import load_single_attack
from ..errors import AttackNotUsableError, InputError
from ._reduction import Reduction, check_reduction, reduced
from .robustness import loss_increase

if TYPE_CHECKING:
    from ..typing import Array, Norm


@check_keywords
def loss_increase_over_radii(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    deltas: Sequence[float],
    attack: str | Attack = "art_flat:APGD(steps=20)",
    norm: Norm = "Linf",
    seed: int = 0,
    quantile: float = 0.5,
    reduction: Reduction = "mean",
) -> np.ndarray:
    """Largest loss increase found in each of several balls around the same samples; it never falls with the radius.

    The attack runs once per radius, at the smallest first, and begins at the points found at the radius before. These
    lie in the larger ball too, so the largest increase up to a radius counts.
    With 5 to 10 gradients a radius this found as much as separate attacks or more; with 20, separate ones, each with
    its own start, found more on one of two nets (benchmarks/radius_grid.py).

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        deltas: Radii in clip units, increasing, (r,).
        attack: An attack that takes a start, such as `art_flat:APGD` with its parameters, which hold for each radius.
        norm: `"Linf"` or `"L2"`.
        seed: Seed of the attack.
        quantile: Quantile in [0, 1], with `reduction="quantile"`.
        reduction: Over the samples: `"mean"`, `"quantile"` or `"none"`.

    Returns:
        Nats, ≥ 0, float64, (r,), or (r, n) with `reduction="none"`. NaN up to the first radius at which the attack did
        not fail. Lower estimates of the truth, as the attack may miss the worst point.

    Raises:
        InputError: If an argument is invalid, the radii do not increase, or no sample is left.
        AttackNotUsableError: If the attack takes no start, or does not support the norm.

    >>> from art_flat.testing import example_classifier
    >>> classifier, x, y = example_classifier()
    >>> curve = loss_increase_over_radii(classifier, x, y, deltas=[0.05, 0.1, 0.2])
    >>> curve.shape, bool((curve[1:] >= curve[:-1]).all())
    ((3,), True)
    """
    check_reduction(reduction, ("mean", "quantile", "none"))
    radii = tuple(sorted(check_radii(deltas)))
    if np.ndim(deltas) and radii != tuple(map(check_delta, deltas)):
        raise InputError(f"`deltas` must be increasing radii, got {list(deltas)!r}")
    chosen = load_single_attack(attack)
    if not chosen.info.takes_start:
        raise AttackNotUsableError(f"{chosen.name} chooses its own start; use art_flat:APGD")
    found = np.stack(list(_increases(adapt(classifier), x, y, radii, chosen, norm, seed)))
    largest = np.fmax.accumulate(found, axis=0)
    if reduction == "none":
        return largest
    return np.array([reduced(row, reduction, x, quantile) for row in largest])


def _increases(
    net: Adapter, x: Array, y: Array, radii: Sequence[float], attack: Attack, norm: Norm, seed: int
) -> Iterator[np.ndarray]:
    """The loss increase per sample at each radius, (n,); NaN where the attack failed."""
    start = None
    for delta in radii:
        result = attack(net, x, y, delta=delta, norm=norm, seed=seed, start=start)
        start = result.x
        found = loss_increase(net, x, y, x_adv=start, delta=delta, norm=norm, reduction="none")
        yield np.where(result.status == "failed", np.nan, to_numpy(found))
