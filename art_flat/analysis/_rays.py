"""Directions of rays from a sample: unit vectors in L2, one per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..adapters.base import Adapter
from ..errors import InputError
from ..functional.ascent import log_odds_against


class Origins(NamedTuple):
    """Starting points of rays, flattened and in float64 for arithmetic."""

    net: Adapter
    x: Tensor
    """Samples, shape (n, ...), as the model takes them."""
    y: Tensor
    rows: Tensor
    """The samples flattened, float64 (n, d)."""
    distances: Tensor
    """L2 distances between them, float64 (n, n), infinite on the diagonal."""
    neighbours: int
    generator: torch.Generator
    towards: Tensor | None
    """Targets of the adversarial direction, float64 (n, d), or None."""

    @classmethod
    def from_samples(
        cls, net: Adapter, x: Tensor, y: Tensor, neighbours: int, seed: int, towards: Tensor | None
    ) -> Origins:
        """Starting points from samples and their labels."""
        rows = x.flatten(1).double()
        distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        distances.fill_diagonal_(torch.inf)
        generator = torch.Generator().manual_seed(seed)
        return cls(net, x, y, rows, distances, neighbours, generator, towards)

    def basis(self) -> Tensor:
        """Orthonormal rows that span the differences to each sample's nearest neighbours, (n, m, d); 0 where fewer."""
        m = min(self.neighbours, len(self.rows) - 1)
        if m < 1:
            raise InputError("the manifold is estimated from nearest neighbours; pass at least two samples")
        nearest = self.distances.topk(m, dim=1, largest=False).indices
        _, size, rows = torch.linalg.svd(self.rows[nearest] - self.rows[:, None], full_matrices=False)
        is_independent = size > 1e-9 * size[:, :1].clamp_min(1e-300)
        basis: Tensor = rows * is_independent[:, :, None]
        return basis

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float64, the same on every device."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.rows.device)


def unit(rows: Tensor) -> Tensor:
    """Rows of length one; zero where they are zero."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(length > 0, rows / length, 0.0)


def _adversarial(origins: Origins) -> Tensor:
    # Towards given points, or along the gradient of the log-odds, that of the loss without underflow
    if origins.towards is not None:
        return origins.towards - origins.rows
    with origins.net.guard(), torch.enable_grad():
        inputs = origins.x.detach().clone().requires_grad_(True)
        odds = log_odds_against(origins.net.as_module()(inputs), origins.y)
        (gradient,) = torch.autograd.grad(odds.sum(), inputs)
    return gradient.flatten(1).double()


def _random(origins: Origins) -> Tensor:
    # Normal, projected onto the complement of the span of the nearest neighbours
    draw = origins.normal(*origins.rows.shape)
    basis = origins.basis()
    return draw - torch.einsum("nm,nmd->nd", torch.einsum("nmd,nd->nm", basis, draw), basis)


def _class(origins: Origins) -> Tensor:
    other = torch.where(origins.y[:, None] == origins.y[None], torch.inf, origins.distances)
    if not bool(torch.isfinite(other).any(dim=1).all()):
        raise InputError(
            'the direction "class" leads to a sample of another class; pass samples of two classes'
        )
    return origins.rows[other.argmin(dim=1)] - origins.rows


def _manifold(origins: Origins) -> Tensor:
    basis = origins.basis()
    return torch.einsum("nm,nmd->nd", origins.normal(*basis.shape[:2]), basis)


DIRECTIONS: Mapping[str, Callable[[Origins], Tensor]] = {
    "adversarial": _adversarial,
    "random": _random,
    "class": _class,
    "manifold": _manifold,
}
"""Name of each direction → its function; results are not normalised."""
