"""`BallPlan`: which bounds over balls of inputs a model gets, and for how many samples."""

from __future__ import annotations

from dataclasses import dataclass

from ..certification import CertificateKind


@dataclass(frozen=True)
class BallPlan:
    """What is bounded, in which way; part of what determines the records.

    Attributes:
        kind: How bounds are found for every sample.
        full: How they are found for samples that the first kind leaves open and that are not broken; None for none.
        share: Largest share of a shard that gets the full bounds at one radius, in [0, 1].
        seconds: For `"branch"`: processor time for each sample.
        batch_size: Samples between two notes on the progress, by kind; no bound depends on it beyond rounding.
    """

    kind: CertificateKind
    full: CertificateKind | None = None
    share: float = 1.0
    seconds: float | None = None
    batch_size: tuple[int, int] = (1, 1)

    def most(self, n: int) -> int:
        """How many of n samples may get the full bounds at one radius."""
        return round(self.share * n)
