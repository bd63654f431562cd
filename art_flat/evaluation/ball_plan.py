"""`BallPlan`: the kinds of bounds over balls of inputs for a model, and the share of samples with full bounds."""

from __future__ import annotations

from dataclasses import dataclass

from ..certification import CertificateKind


@dataclass(frozen=True)
class BallPlan:
    """The plan of the bounds of a model; it is part of the settings that determine the records.

    Attributes:
        kind: Kind of the bounds for every sample.
        full: Kind for samples that the first kind leaves open and that are not broken, or None.
        share: Largest share of a shard that gets the full bounds at one radius, in [0, 1].
        seconds: Limit of processor time per sample with `"branch"`.
        batch_size: Kind → samples between two progress messages; no bound depends on it beyond rounding.
    """

    kind: CertificateKind
    full: CertificateKind | None = None
    share: float = 1.0
    seconds: float | None = None
    batch_size: tuple[int, int] = (1, 1)

    def most(self, n: int) -> int:
        """Maximum number of n samples with full bounds at one radius."""
        return int(self.share * n + 1e-9)
