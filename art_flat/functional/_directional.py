"""A bound on the loss increase that splits the ball along the direction of steepest rise.

Let e be a unit vector, v = s e + w with w ⊥ e and ‖w‖ = ρ. With c_j = ⟨u_j, e⟩, ũ_j = u_j − c_j e, q_j = ‖ũ_j‖ and
A_j = p_j exp(s c_j), the loss rises by the logarithm of Σ_j p_j exp⟨u_j, v⟩ = Σ_j A_j exp⟨ũ_j, w⟩. Its largest
value over the directions of w is a convex function of (s, ρ), even in ρ, as it is convex for each direction. So
in the disc s² + ρ² ≤ t² it is at most what it is at a corner of a polygon around the disc. At a corner it is at most

    Σ_j A_j cosh ρq_j + ρ ‖Σ_j A_j (sinh ρq_j / ρq_j) ũ_j‖                by the chord of exp over [−ρq_j, ρq_j],
    Σ_j A_j + ρ ‖Σ_j A_j ũ_j‖ + (ρ²/2) ‖Σ_j A_j ψ(ρq_j) ũ_j ũ_jᵀ‖          as exp x ≤ 1 + x + ψ(R) x²/2 for x ≤ R,

the smaller of the two, for every e. Where t e is the worst move itself, Σ_j A_j ũ_j vanishes at s = t, and the bound
at the corners next to it is nearly the worst case. The norm of the matrix is bounded by the fourth root of the
trace of its fourth power.

All terms are functions of the products ⟨u_i, u_j⟩ of the `_LARGEST` most important classes; the others are bounded
as in `lse`. Rounding: probabilities, products and c_j have known errors, whose effect is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch

from ._increase import EPS, TINY, Samples, chord, finite_max, flatness_neuronwise, log1p_exp, quadratic
from ._psi import psi

Direction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

_LARGEST = 16
"""Number of classes whose directions are used; the cost is cubic in it."""
_STARTS, _STEPS = 4, 8
"""Number of classes from which, beside the gradient, the worst direction is searched."""
_FARTHEST = 300.0
"""Limit of t r_j; beyond it exponentials overflow float64 and the chord bound is used."""
_TANGENTS = (0.0, 0.12, 0.28, 0.48, 0.74, 1.1, 1.6, 2.3, math.pi)
"""Angles from e at which the sides of the polygon touch the disc."""
_FLAT = 1e-3
"""Shortest sum of the u_j, relative to the longest of them, that determines e."""


def _corners() -> list[tuple[float, float]]:
    # (s, ρ) over t; widened by more than rounding
    corners = []
    for a, b in pairwise(_TANGENTS):
        distance = (1 + 1e-12) / math.cos((b - a) / 2)
        corners.append((distance * math.cos((a + b) / 2), distance * math.sin((a + b) / 2)))
    return corners


def directional(s: Samples, t: torch.Tensor) -> torch.Tensor:
    """The directional bound, or the chord bound where that is smaller.

    Returns:
        The bound, shape (m,).
    """
    bound = chord(s, t)
    near = (t[:, None] * s.reach).masked_fill(s.idle, 0.0).amax(dim=1) <= _FARTHEST
    if bool(near.all()):
        return torch.fmin(bound, corner_bound(s, t))
    if not bool(near.any()):
        return bound
    rows = near.nonzero()[:, 0]
    return bound.index_put((rows,), torch.fmin(bound[rows], corner_bound(s.take(rows), t[rows])))


def best(s: Samples, t: torch.Tensor) -> torch.Tensor:
    """The smallest bound; `directional` ≤ `chord` ≤ `lse`, and `flatness_neuronwise` ≤ `flatness`.

    Returns:
        The smallest of the sound bounds, shape (m,).
    """
    return torch.minimum(directional(s, t), torch.minimum(quadratic(s, t), flatness_neuronwise(s, t)))


@dataclass
class _Parts:
    """The most important classes in coordinates relative to a direction e."""

    mass: torch.Tensor
    """p_j over exp `top`, shape (m, K); 0 for classes that never raise the loss."""
    slack: torch.Tensor
    """Relative error of p_j, shape (m, K)."""
    along: torch.Tensor
    """c_j, shape (m, K)."""
    across: torch.Tensor
    """q_j, rounded up, shape (m, K)."""
    products: torch.Tensor
    """⟨ũ_i, ũ_j⟩, shape (m, K, K)."""
    longest: torch.Tensor
    """max r_j, shape (m, 1)."""
    error: torch.Tensor
    """Largest error of c_j, shape (m, 1); the error of the products is 4 max r_j times that."""


def corner_bound(s: Samples, t: torch.Tensor, direction: Direction | None = None) -> torch.Tensor:
    """The bound at the corners of the polygon around the disc, for any direction e.

    Args:
        s: The samples.
        t: Radius, shape (m,).
        direction: From log p (m, K), the products ⟨u_i, u_j⟩ (m, K, K) and t to weights a_j ≥ 0 of e, (m, K); None
            for the worst direction. It only decides how tight the bound is.

    Returns:
        The bound, shape (m,).
    """
    rise = (s.log_p + t[:, None] * s.reach).masked_fill(s.idle, -torch.inf)
    top = finite_max(rise)
    classes = rise.detach().topk(min(_LARGEST, rise.shape[1]), dim=1).indices
    others = -torch.expm1(-t[:, None] * s.reach) * (rise - top).exp()
    others = others.scatter(1, classes, 0.0).sum(dim=1, keepdim=True) * (1 + 1e-12)
    parts = _geometry(s, t, classes, top, direction or _worst_direction)
    at_corners = [_at_corner(parts, t[:, None] * a, t[:, None] * b) for a, b in _corners()]
    largest = torch.cat(at_corners, dim=1).amax(dim=1, keepdim=True)
    # 1e-280: masses that underflow
    bound = log1p_exp((top + ((largest + others) * (1 + 1e-12) + 1e-280).log())[:, 0])
    return bound.masked_fill(~torch.isfinite(parts.error[:, 0]), torch.inf)


def _geometry(
    s: Samples, t: torch.Tensor, classes: torch.Tensor, top: torch.Tensor, direction: Direction
) -> _Parts:
    idle = s.idle.gather(1, classes)
    log_p, reach = s.log_p.gather(1, classes), s.reach.gather(1, classes).masked_fill(idle, 0.0)
    between = s.head.squared_distances[classes[:, :, None], classes[:, None, :]]
    squared = reach.square()
    products = (squared[:, :, None] + squared[:, None, :] - between) / 2
    products = products.masked_fill(idle[:, :, None] | idle[:, None, :], 0.0)
    longest = reach.amax(dim=1, keepdim=True).clamp(min=TINY)
    pull = direction(log_p, products, t)
    along = (pull[:, None] @ products)[:, 0]
    length = (along * pull).sum(dim=1, keepdim=True).clamp(min=0.0).sqrt()
    spread = longest * pull.sum(dim=1, keepdim=True) / length.clamp(min=TINY)
    known = spread <= 1 / _FLAT
    along = along / length.clamp(min=TINY)
    error = 16 * (s.head.size + 16) * EPS * longest * spread.square().clamp(min=1.0)
    error = error.masked_fill(~known, torch.inf)
    across = ((squared - along.square()).clamp(min=0.0) + 4 * longest * error).sqrt()
    return _Parts(
        mass=(log_p - top).exp(),
        slack=(8 * s.head.size + 64 + 8 * log_p.abs().masked_fill(log_p == -torch.inf, 0.0)) * EPS,
        along=along,
        across=across,
        products=products - along[:, :, None] * along[:, None, :],
        longest=longest,
        error=error,
    )


def _worst_direction(log_p: torch.Tensor, products: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    # Weights a_j ≥ 0 of e = Σ a_j u_j / ‖…‖, shape (m, K): v ← t ∇/‖∇‖ never descends on the sphere, ∇ = Σ a_j u_j
    # with a_j the probabilities at v.
    lengths = products.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt()
    rise = (log_p + t[:, None] * lengths).masked_fill(lengths == 0, -torch.inf)
    starts = rise.detach().topk(min(_STARTS, rise.shape[1]), dim=1).indices
    alone = torch.nn.functional.one_hot(starts, log_p.shape[1]).to(log_p.dtype)
    likely = log_p.masked_fill(lengths == 0, -torch.inf)
    pull = torch.cat([alone, _shares(likely)[:, None]], dim=1)
    for _ in range(_STEPS):
        move = _along(pull, products) * t[:, None, None]
        pull = _shares(likely[:, None] + move)
    # log_p excludes the label's own class, where u = 0: compared are monotone functions of the loss
    move = _along(pull, products) * t[:, None, None]
    loss = (likely[:, None].exp() * move.expm1()).sum(dim=2)
    highest = loss.detach().argmax(dim=1)[:, None, None].expand(-1, 1, pull.shape[2])
    return pull.gather(1, highest)[:, 0]


def _shares(logarithms: torch.Tensor) -> torch.Tensor:
    # softmax over the last axis, 0 for empty rows
    shares = (logarithms - logarithms.detach().amax(dim=-1, keepdim=True).clamp(min=-1e300)).exp()
    return shares / shares.sum(dim=-1, keepdim=True).clamp(min=TINY)


def _along(pull: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    # ⟨u_j, e⟩ for each of several e, shape (m, starts, K)
    along = pull @ products
    return along / (along * pull).sum(dim=2, keepdim=True).clamp(min=TINY).sqrt()


def _at_corner(p: _Parts, along: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    # the smaller bound at s = `along`, ρ = `across`, both (m, 1); relative to `top`
    b = across * p.across
    y = along * p.along
    high, level, low = (y + b).expm1(), y.expm1(), (y - b).expm1()
    doubt = along.abs() * p.error + 8 * EPS * (y.abs() + b)
    doubt = 4 * doubt * (1 + high) + 3 * p.slack * (high.abs() + low.abs())
    strength = p.mass * (1 + level)
    chord = (p.mass * ((high + low) / 2 + doubt)).sum(dim=1, keepdim=True)
    chord = chord + across * _resultant(p, strength * _sinhc(b))
    curved = (p.mass * (level + doubt)).sum(dim=1, keepdim=True) + across * _resultant(p, strength)
    curved = curved + across.square() / 2 * _largest_eigenvalue(p, strength * psi(b))
    return torch.minimum(chord, curved)


def _resultant(p: _Parts, strength: torch.Tensor) -> torch.Tensor:
    # ‖Σ_j strength_j ũ_j‖, rounded up, shape (m, 1)
    squared = ((strength[:, None] @ p.products)[:, 0] * strength).sum(dim=1, keepdim=True)
    total = strength.sum(dim=1, keepdim=True)
    doubt = 4 * p.longest * p.error * total.square()
    return (squared.clamp(min=0.0) + doubt + TINY).sqrt() * (1 + 1e-12)


def _largest_eigenvalue(p: _Parts, strength: torch.Tensor) -> torch.Tensor:
    # ‖Σ_j strength_j ũ_j ũ_jᵀ‖ from above, shape (m, 1)
    total = strength.sum(dim=1, keepdim=True) + TINY
    root = (strength / total + TINY).sqrt()
    square = p.products * root[:, :, None] * root[:, None, :]
    fourth = (square @ square).square().sum(dim=(1, 2))[:, None] + TINY
    return total * (fourth.sqrt().sqrt() * (1 + 1e-12) + 4 * p.longest * p.error)


def _sinhc(x: torch.Tensor) -> torch.Tensor:
    # sinh x / x
    small = x.clamp(max=0.1).square()
    large = x.clamp(min=0.1)
    series = 1 + small / 6 * (1 + small / 20 * (1 + small / 42 * (1 + small / 72)))
    return torch.where(x < 0.1, series, large.sinh() / large) * (1 + 1e-12)
