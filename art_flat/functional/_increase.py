"""Formulas of the bounds on the loss increase when features move, for one chunk of samples.

When φ moves by v, the loss of label y changes by log Σ_j p_j exp⟨u_j, v⟩ with u_j = w_j − w_y. Each formula
bounds that over ‖v‖ ≤ t. With r_j = ‖u_j‖ and x_j = t r_j, `lse` and `chord` are built from the logarithms of

    E_j = p_j (exp x_j − 1)
    p_j sinh x_j       = E_j (1 + exp −x_j) / 2
    p_j (cosh x_j − 1) = E_j (1 − exp −x_j) / 2

so that neither p near 0 or 1 nor a large t loses digits or overflows. Every formula is increasing and convex
in t, and 0 at t = 0.

Rounding: distances, probabilities and sums are raised by the relative error that their computation in
float64 can have, `EPS` times the number of operations, so that no bound is rounded below itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from ._logits import squared_row_distances, two_classes, two_rows
from ._psi import log_psi
from .hessian import log_gini_impurity
from .paper_bound import paper_factors
from .sharpness import log_relative_sharpness

EPS = torch.finfo(torch.float64).eps
TINY = torch.finfo(torch.float64).tiny
LARGE = 1e300
"""Represents infinity within the formulas; results above LARGE / 10 are returned as infinite."""
_LOG_2 = math.log(2)


class HeadGeometry(NamedTuple):
    """Quantities of a head's weight that the bounds use, computed once."""

    rows: torch.Tensor
    """Weight rows minus their mean, in coordinates of their span, shape (k, min(k, d))."""
    lengths: torch.Tensor
    """Lengths of these rows, shape (k,)."""
    squared_distances: torch.Tensor
    """‖w_i − w_j‖², shape (k, k), by direct differences."""
    diameter: torch.Tensor
    """max ‖w_i − w_j‖, shape ()."""
    log_norm: torch.Tensor
    """log ‖W‖_F, shape ()."""
    size: int
    """k + d, the maximum number of products in a sum."""


def head_geometry(weight: torch.Tensor) -> HeadGeometry:
    """Compute the geometry of the rows of a weight.

    Args:
        weight: W, shape (k, d).

    Returns:
        Its geometry, in float64, of at least two rows.
    """
    weight = two_rows(weight).to(torch.float64)
    k, d = weight.shape
    rows = weight - weight.mean(dim=0)
    differentiable = weight.requires_grad and torch.is_grad_enabled()
    if d > k and not differentiable:  # QR of the dependent centred rows has no derivative
        rows = torch.linalg.qr(rows.T, mode="r").R.T
    squared = squared_row_distances(weight)
    return HeadGeometry(
        rows=rows,
        lengths=torch.linalg.vector_norm(rows, dim=1),
        squared_distances=squared,
        diameter=squared.max().sqrt() * (1 + (d + 8) * EPS),
        log_norm=torch.linalg.vector_norm(weight).log(),
        size=k + d,
    )


@dataclass
class Samples:
    """Some samples of one head. The label's own class, and classes with equal rows, never raise the loss."""

    logits: torch.Tensor
    features: torch.Tensor
    labels: torch.Tensor
    head: HeadGeometry

    def take(self, rows: torch.Tensor) -> Samples:
        """Some of the samples.

        Args:
            rows: Their indices.

        Returns:
            The selected samples.
        """
        return Samples(self.logits[rows], self.features[rows], self.labels[rows], self.head)

    @cached_property
    def z(self) -> torch.Tensor:
        """Logits of at least two classes in float64, shape (m, k)."""
        return two_classes(self.logits).to(torch.float64)

    @cached_property
    def idle(self) -> torch.Tensor:
        """Whether w_j = w_y, shape (m, k)."""
        return self.head.squared_distances[self.labels] == 0

    @cached_property
    def log_p(self) -> torch.Tensor:
        """The logarithms of p_j, rounded up, shape (m, k); −inf for idle classes."""
        below = self.z - self.z.amax(dim=1, keepdim=True)
        log_p = below - below.exp().sum(dim=1, keepdim=True).log()
        return (log_p * (1 - 4 * EPS) + (2 * self.head.size + 16) * EPS).masked_fill(self.idle, -torch.inf)

    @cached_property
    def reach(self) -> torch.Tensor:
        """The distances r_j = ‖w_j − w_y‖, rounded up, shape (m, k); 1 for idle classes."""
        squared = self.head.squared_distances[self.labels].masked_fill(self.idle, 1.0)
        return squared.sqrt() * (1 + (self.head.size + 8) * EPS)

    @cached_property
    def log_gradient(self) -> torch.Tensor:
        """The logarithm of ‖g‖, g = Σ_j p_j u_j the gradient of the loss in the features, shape (m,)."""
        top = finite_max(self.log_p)
        return top[:, 0] + self.resultant((self.log_p - top).exp() * self.reach).log()

    @cached_property
    def log_curvature_paper(self) -> torch.Tensor:
        """The logarithm of ‖W‖_F² G, shape (m,)."""
        return 2 * self.head.log_norm + log_gini_impurity(self.z)

    @cached_property
    def log_curvature_neuronwise(self) -> torch.Tensor:
        """The logarithm of ½ Σ_st p_s p_t ‖w_s − w_t‖², the neuronwise κ over ‖φ‖², shape (m,)."""
        return log_relative_sharpness(
            self.z,
            torch.ones_like(self.z[:, :1]),
            self.head.rows[:, :1],  # any: the distances are given
            definition="neuronwise",
            row_distances=self.head.squared_distances,
        )

    def resultant(self, strength: torch.Tensor) -> torch.Tensor:
        """Add up the directions u_j / r_j.

        Args:
            strength: Factor of each direction, ≥ 0, shape (m, k).

        Returns:
            ‖Σ_j strength_j u_j / r_j‖, rounded up, and at most Σ_j strength_j; shape (m,).
        """
        share = strength / self.reach
        total = share.sum(dim=1)
        vector = share @ self.head.rows - total[:, None] * self.head.rows[self.labels]
        longest = share @ self.head.lengths + total * self.head.lengths[self.labels]
        length = torch.linalg.vector_norm(vector, dim=1) + (2 * self.head.size + 16) * EPS * longest
        return torch.fmin(length, strength.sum(dim=1))


def lse(s: Samples, t: torch.Tensor) -> torch.Tensor:
    """The bound from the lengths alone.

    Returns:
        log1p(Σ_j p_j (exp x_j − 1)), shape (m,).
    """
    top, e, _ = _terms(s, t)
    return log1p_exp(top + e.sum(dim=1).log())


def chord(s: Samples, t: torch.Tensor) -> torch.Tensor:
    """The bound from the chords of exp over [−x_j, x_j], which uses the directions to first order.

    Returns:
        log(Σ_j p_j cosh x_j + ‖Σ_j p_j sinh x_j u_j / r_j‖), shape (m,).
    """
    top, e, fall = _terms(s, t)
    level = (e * fall / 2).sum(dim=1)
    pull = s.resultant(e * (1 - fall / 2))
    return log1p_exp(top + (level + pull).log())


def quadratic(s: Samples, t: torch.Tensor) -> torch.Tensor:
    """The bound from the largest curvature of the log-sum-exp function, diam²/4.

    Returns:
        t‖g‖ + t² diam²/8, shape (m,).
    """
    log_t = t.log()
    return _exp_sum(log_t + s.log_gradient, 2 * (log_t + s.head.diameter.log()) - 3 * _LOG_2)


def flatness(s: Samples, t: torch.Tensor) -> torch.Tensor:
    """The bound from the paper's relative sharpness and the growth ψ of the curvature along the path.

    Returns:
        t‖g‖ + (t²/2) ‖W‖_F² G ψ(t diam), shape (m,).
    """
    return _flat(s, t, s.log_curvature_paper)


def flatness_neuronwise(s: Samples, t: torch.Tensor) -> torch.Tensor:
    """The bound from the neuronwise relative sharpness.

    Returns:
        t‖g‖ + (t²/2) ½ Σ_st p_s p_t ‖w_s − w_t‖² ψ(t diam), shape (m,).
    """
    return _flat(s, t, s.log_curvature_neuronwise)


def paper(s: Samples, t: torch.Tensor) -> torch.Tensor:
    """The paper's expression, which is not a bound.

    Returns:
        Δ²/2 · κ + Δ³ k d / 24 with Δ = t / ‖φ‖, shape (m,); infinite at φ = 0.
    """
    square, cube = log_paper_factors(s)
    return _exp_sum(2 * t.log() + square, 3 * t.log() + cube)


def log_paper_factors(s: Samples) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors of the paper's expression.

    Returns:
        The logarithms of its factors of t² and t³, each of shape (m,).
    """
    log_length = torch.linalg.vector_norm(s.features, dim=1, dtype=torch.float64).log()
    return paper_factors(s.log_curvature_paper, log_length, s.z.shape[1] * s.features.shape[1])


def _terms(s: Samples, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    # log M (m,), E_j / M and 1 − exp(−x_j) (m, k), for M = max E_j
    x = (t[:, None] * s.reach).clamp(max=LARGE)
    fall = -torch.expm1(-x)
    log_e = s.log_p + x * (1 + 2 * EPS) + fall.log() * (1 - 4 * EPS)
    top = finite_max(log_e)
    return top[:, 0], (log_e - top).exp(), fall


def _flat(s: Samples, t: torch.Tensor, log_curvature: torch.Tensor) -> torch.Tensor:
    log_t = t.log()
    curved = 2 * log_t - _LOG_2 + log_curvature + log_psi((t * s.head.diameter).clamp(max=LARGE))
    return _exp_sum(log_t + s.log_gradient, curved)


def finite_max(logarithms: torch.Tensor) -> torch.Tensor:
    # the largest of each row, (m, 1), a constant of the gradient
    return logarithms.detach().amax(dim=1, keepdim=True).clamp(min=-LARGE, max=LARGE)


def log1p_exp(s: torch.Tensor) -> torch.Tensor:
    return _positive(torch.logaddexp(s, torch.zeros_like(s)) * (1 + 4 * EPS), s)


def _exp_sum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    # exp a + exp b; the margin covers logarithms of up to 1000
    s = torch.logaddexp(a, b)
    return _positive(s.exp() * (1 + 1e-12), s)


def _positive(value: torch.Tensor, logarithm: torch.Tensor) -> torch.Tensor:
    # never 0 by underflow, never nearly infinite
    value = torch.where(logarithm > -torch.inf, value.clamp(min=TINY), value)
    return value.masked_fill(value > LARGE / 10, torch.inf)
