"""The verdict of a run in one sentence per model and norm, over all its radii and not the smallest alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from .._utils.formatting import norm_sign, percent_of, radius_text
from ..records import ALL_ATTACKS

HALF = 0.5
"""Share of samples that the verdict asks for."""


class HalfRadii(NamedTuple):
    """Radii of a run at which at least half of the samples are robust, clip units; None where there is none."""

    certified: float | None
    """Largest radius at which at least half are certified."""
    survived: float | None
    """Largest radius up to which at least half survive every attack."""
    broken: float | None
    """Smallest radius at which the attacks break more than half."""


def half_radii(deltas: Sequence[float], certified: Sequence[float], survived: Sequence[float]) -> HalfRadii:
    """The radii at which half of the samples are certified, survive every attack, and no longer do.

    Args:
        deltas: Radii, increasing, shape (r,), clip units.
        certified: Certified shares, shape (r,); NaN where nothing is certified.
        survived: Shares that no attack broke, shape (r,); NaN where nothing was measured.

    Returns:
        The three radii.

    >>> half_radii([0.1, 0.2, 0.3], [0.9, 0.2, 0.0], [0.9, 0.7, 0.4])
    HalfRadii(certified=0.1, survived=0.2, broken=0.3)
    """
    broken = min((d for d, share in zip(deltas, survived, strict=True) if share < HALF), default=None)
    kept = [
        d
        for d, share in zip(deltas, survived, strict=True)
        if share >= HALF and (broken is None or d < broken)
    ]
    proven = [d for d, share in zip(deltas, certified, strict=True) if share >= HALF]
    return HalfRadii(max(proven, default=None), max(kept, default=None), broken)


def overall(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows over all attacks; the rows of the only attack where a single one ran."""
    if summary.empty:
        return summary
    several = summary.groupby(["model", "norm"])["attack"].transform(lambda a: (a == ALL_ATTACKS).any())
    return summary[(summary["attack"] == ALL_ATTACKS) | ~several]


class Verdict(NamedTuple):
    """The verdict on one model in one norm."""

    model: str
    norm: str
    """The norm as in the summary."""
    rows: pd.DataFrame
    """Rows of the summary over all attacks, by increasing radius."""
    radii: HalfRadii
    """In accuracy: predicted correctly."""
    sentence: str

    @property
    def title(self) -> str:
        """The model and the norm as people read them."""
        return f"{self.model}, {norm_sign(self.norm)}"

    @property
    def telling(self) -> pd.Series:
        """The row at which attacks first break more than half; at the largest radius if they never do."""
        at = self.rows["delta"] == self.radii.broken
        return (self.rows[at] if at.any() else self.rows).iloc[-1]

    def half_radii(self, epsilon: str) -> HalfRadii:
        """The radii in loss: at which the loss rises by at most ε for half of the samples."""
        shares = self.rows[f"certified@{epsilon}"], self.rows[f"loss_change_robustness@{epsilon}"]
        return half_radii(self.rows["delta"].tolist(), *(s.tolist() for s in shares))


def headlines(summary: pd.DataFrame) -> list[Verdict]:
    """The verdicts of a run.

    Args:
        summary: From `Results.summary`.

    Returns:
        One per model and norm, in the order of the summary.

    >>> from art_flat.testing import example_results
    >>> headlines(example_results().summary())[0].sentence
    'Robust up to δ = 0.3, the largest radius tried: certified.'
    """
    return list(_verdicts(summary))


def _verdicts(summary: pd.DataFrame) -> Iterator[Verdict]:
    if summary.empty:
        return
    for (model, norm), part in overall(summary).groupby(["model", "norm"], sort=False):
        rows = part.sort_values("delta")
        radii = half_radii(
            rows["delta"].tolist(), rows["certified_accuracy"].tolist(), rows["robust_accuracy"].tolist()
        )
        yield Verdict(str(model), str(norm), rows, radii, _sentence(rows, radii))


def _sentence(rows: pd.DataFrame, radii: HalfRadii) -> str:
    if not rows["n_evaluated"].any():
        return "Nothing measured: every attack failed or was skipped."
    first, last = rows.iloc[0], rows.iloc[-1]
    if first["accuracy"] < HALF:
        return f"Wrong without any attack: accuracy is {percent_of(first['accuracy'], first['n_evaluated'], 'sample')}."
    if radii.survived is None:
        left = percent_of(first["robust_accuracy"], first["n_evaluated"], "sample")
        return (
            f"Not robust at δ = {radius_text(first['delta'])} or beyond, the smallest radius tried: attacks leave "
            f"{left}."
        )
    if radii.broken is None:
        return _unbroken(radii, float(last["delta"]))
    beyond = f"not robust at δ = {radius_text(radii.broken)} or beyond"
    if radii.certified is None:
        return f"Survives attacks up to δ = {radius_text(radii.survived)}, unproven; {beyond}."
    if radii.certified >= radii.survived:
        return f"Robust up to δ = {radius_text(radii.certified)}, certified; {beyond}."
    return (
        f"Robust up to δ = {radius_text(radii.certified)}, certified; open up to "
        f"δ = {radius_text(radii.survived)}; {beyond}."
    )


def _unbroken(radii: HalfRadii, largest: float) -> str:
    tried = f"δ = {radius_text(largest)}, the largest radius tried"
    if radii.certified == largest:
        return f"Robust up to {tried}: certified."
    if radii.certified is None:
        return f"Not broken within {tried}, but unproven: no radius is certified for half of the samples."
    return f"Not broken within {tried}, and certified up to δ = {radius_text(radii.certified)}; open between."
