"""Radial profiles: loss and curvature along rays from a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from .. import functional as F
from .._utils.arrays import to_numpy
from .._utils.formatting import counted
from .._utils.modes import outside_inference_mode
from .._utils.numbers import check_number, check_seed
from .._utils.validation import check_definition, check_labels
from ..adapters import Adapter, adapt
from ..adapters.base import Outputs
from ..errors import InputError, UnknownNameError
from ..typing import Definition
from ._inputs import prepared
from ._rays import DIRECTIONS, Origins, unit

if TYPE_CHECKING:
    from ..typing import Array

ON_MANIFOLD = ("manifold",)
OFF_MANIFOLD = ("adversarial", "random")
_STEPS = 20
_BATCH = 512


@dataclass(frozen=True, repr=False)
class RadialProfile:
    """The result of `radial_profile`.

    Attributes:
        rays: One row per sample, direction and radius; see `frame`.
        definition: Definition of the relative sharpness κ.
    """

    rays: pd.DataFrame
    definition: Definition

    def __repr__(self) -> str:
        directions = ", ".join(self.rays["direction"].unique())
        return f"<RadialProfile of {counted(self.rays['sample'].nunique(), 'sample')} along {directions}>"

    def frame(self) -> pd.DataFrame:
        """One row per sample, direction and radius.

        Returns:
            Columns `sample, true_label, direction, radius` (L2, clip units), `loss` (nats), `kappa, log_kappa,
            confidence, label, curvature` (second derivative of the loss along the ray, nats per squared clip unit;
            NaN at both ends), `inside` (whether the point lies in the clip range; rays are straight and may leave
            it).
        """
        return self.rays.copy()

    def conditions(self) -> pd.DataFrame:
        """Whether the loss bends more away from the data manifold than along it, one row per sample.

        The paper states a necessary condition: to stay robust beyond a local neighbourhood, the loss must curve sharply
        away from the data manifold. Where the condition holds, nothing follows; where it fails,
        robustness beyond the neighbourhood is not expected. The manifold is estimated from the nearest
        neighbours among the samples, so this is a measurement, not a proof.

        Returns:
            Columns `sample, curvature_<direction>` (mean of |second derivative| over the radii), `curvature_off`
            (mean over "adversarial" and "random"), `curvature_on` ("manifold"), `off_over_on, holds` (off_over_on
            above 1; null where either side is missing), `label_kept` (whether the true label is predicted at every
            radius of every off-manifold ray).
        """
        bent = self.rays.assign(size=self.rays["curvature"].abs())
        table = bent.pivot_table(index="sample", columns="direction", values="size", aggfunc="mean")
        table = table.reindex(columns=list(dict.fromkeys(self.rays["direction"])))
        off, on = (
            table.reindex(columns=[d for d in names if d in table]).mean(axis=1)
            for names in (OFF_MANIFOLD, ON_MANIFOLD)
        )
        off_manifold = self.rays[self.rays["direction"].isin(OFF_MANIFOLD)]
        label_kept = (
            (off_manifold["label"] == off_manifold["true_label"]).groupby(off_manifold["sample"]).all()
        )
        table = table.add_prefix("curvature_").rename_axis(columns=None)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = pd.Series(off.to_numpy() / on.to_numpy(), index=table.index)
        table["curvature_off"], table["curvature_on"], table["off_over_on"] = off, on, ratio
        table["holds"] = (ratio > 1).astype("boolean").mask(ratio.isna())
        table["label_kept"] = label_kept.reindex(table.index).astype("boolean")
        return table.reset_index()

    def plot(self, quantity: str = "loss") -> Any:
        """Median of a column of `frame` against the radius, one line per direction.

        Args:
            quantity: `"loss"`, `"kappa"`, `"log_kappa"`, `"confidence"` or `"curvature"`.

        Returns:
            A matplotlib `Figure`.

        Raises:
            InputError: If there is no such column.
        """
        from ..reporting import plot_radial_profile

        return plot_radial_profile(self.rays, quantity=quantity)


@outside_inference_mode
def radial_profile(
    net: Any,
    x: Array,
    y: Array,
    *,
    directions: Sequence[str] = ("adversarial", "random", "class", "manifold"),
    radii: Sequence[float] | None = None,
    neighbours: int = 8,
    adversarial: Array | None = None,
    seed: int = 0,
    definition: Definition = "paper",
) -> RadialProfile:
    """Loss, κ, confidence and the curvature of the loss along straight rays from each sample.

    The directions of the rays:

    - `adversarial`: up the gradient of the loss (of log Σ_{j≠y} exp z_j − z_y, which points the same way and does
      not underflow), or towards the points given as `adversarial`; off the manifold
    - `random`: a random direction orthogonal to the span of the nearest neighbours; off the manifold
    - `class`: towards the nearest sample of another class
    - `manifold`: a random direction within the span of the differences to the nearest neighbours; on the manifold,
      as estimated from them

    The curvature is the second difference of the loss, in float64, over the radii as they are given. Networks of
    ReLUs are piecewise linear, so it is the mean curvature between neighbouring radii, kinks included.

    Args:
        net: An adapted classifier, or an estimator that `adapt` accepts.
        x: Samples, shape (n, ...); they are also the neighbours of each other.
        y: True labels, indices (n,) or one-hot (n, k).
        directions: Names of the directions.
        radii: Increasing lengths ≥ 0 in L2, clip units, at least two; 0 is added. If None, 20 equal steps up to the
            median distance between a sample and the nearest other.
        neighbours: Number of nearest neighbours that span the manifold.
        adversarial: Points that the adversarial rays lead to, shape of `x`.
        seed: Seed of the random directions.
        definition: Definition of the relative sharpness κ.

    Returns:
        The profile.

    Raises:
        InputError: If an argument is invalid.
        UnknownNameError: If a direction is unknown.

    Source: arXiv 2510.14231, on curvature away from the data manifold.

    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> profile = radial_profile(net, x, y, radii=[0.1, 0.2])
    >>> sorted(set(profile.frame()["direction"]))
    ['adversarial', 'class', 'manifold', 'random']
    """
    net, definition = adapt(net), check_definition(definition)
    inputs = prepared(net, x)
    labels = check_labels(y, len(inputs), net.nb_classes).to(net.device)
    towards = None if adversarial is None else prepared(net, adversarial).flatten(1).double()
    if towards is not None and towards.shape[0] != len(inputs):
        raise InputError(
            f"`adversarial` has {counted(len(towards), 'point')} for {counted(len(inputs), 'sample')}; pass one each"
        )
    unknown = [d for d in directions if d not in DIRECTIONS]
    if unknown or not directions:
        raise UnknownNameError("direction", unknown[0] if unknown else directions, DIRECTIONS)
    seed, count = check_seed(seed), int(check_number(neighbours, "neighbours", "samples", at_least=1))
    origins = Origins.from_samples(net, inputs, labels, count, seed, towards)
    lengths = _radii(radii, origins.distances)
    weight = net.head.weight.double()
    parts = []
    for name in dict.fromkeys(directions):
        ray = unit(DIRECTIONS[name](origins))
        seen = [_at(net, origins, weight, ray, radius, definition) for radius in lengths]
        loss = torch.stack([columns["loss"] for columns in seen], dim=1)
        bends = _second_derivative(loss, torch.tensor(lengths, dtype=torch.float64, device=loss.device))
        for step, (radius, columns) in enumerate(zip(lengths, seen, strict=True)):
            head = {"sample": np.arange(len(inputs)), "true_label": to_numpy(labels), "direction": name}
            values = {k: to_numpy(v) for k, v in {**columns, "curvature": bends[:, step]}.items()}
            parts.append(pd.DataFrame({**head, "radius": radius, **values}))
    frame = pd.concat(parts, ignore_index=True).sort_values(
        ["sample", "direction", "radius"],
        key=lambda c: c.map(list(directions).index) if c.name == "direction" else c,
        ignore_index=True,
    )
    order = ["loss", "kappa", "log_kappa", "confidence", "label", "curvature", "inside"]
    return RadialProfile(frame[["sample", "true_label", "direction", "radius", *order]], definition)


def _radii(radii: Sequence[float] | None, distances: torch.Tensor) -> list[float]:
    if radii is None:
        end = float(distances.amin(dim=1).median())
        if not 0 < end < np.inf:
            raise InputError("`radii` follow from the distances between samples; pass them, or other samples")
        return [end * i / _STEPS for i in range(_STEPS + 1)]
    lengths = [check_number(r, "radii", "units of the classifier's clip_values", at_least=0.0) for r in radii]
    if lengths != sorted(set(lengths)):
        raise InputError("`radii` must increase; sort them and leave out repetitions")
    lengths = lengths if lengths and lengths[0] == 0 else [0.0, *lengths]
    if len(lengths) < 3:
        raise InputError(
            "`radii` needs at least two radii above 0, because the curvature is a second difference"
        )
    return lengths


def _at(
    net: Adapter,
    origins: Origins,
    weight: torch.Tensor,
    ray: torch.Tensor,
    radius: float,
    definition: Definition,
) -> dict[str, torch.Tensor]:
    points = (origins.rows + radius * ray).to(origins.x.dtype).reshape(origins.x.shape)
    pieces = [net.forward(part) for part in torch.split(points, _BATCH)]
    outputs = Outputs(*(torch.cat(c).double() for c in zip(*pieces, strict=True)))
    log_kappa = F.log_relative_sharpness(*outputs, weight, definition=definition)
    low, high = (torch.as_tensor(np.asarray(v)).to(points) for v in net.clip_values or (-np.inf, np.inf))
    return {
        "loss": F.cross_entropy(outputs.logits, origins.y),
        "kappa": log_kappa.exp(),
        "log_kappa": log_kappa,
        "confidence": outputs.logits.softmax(dim=1).amax(dim=1),
        "label": outputs.logits.argmax(dim=1),
        "inside": ((points >= low) & (points <= high)).flatten(1).all(dim=1),
    }


def _second_derivative(values: torch.Tensor, radii: torch.Tensor) -> torch.Tensor:
    # Three-point differences on any increasing radii, exact for parabolas; NaN at both ends
    step = radii.diff()
    slope = values.diff(dim=1) / step
    inner = 2 * slope.diff(dim=1) / (step[1:] + step[:-1])
    ends = torch.full_like(values[:, :1], torch.nan)
    return torch.cat([ends, inner, ends], dim=1)
