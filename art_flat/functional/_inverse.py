"""The largest radius at which a bound on the loss increase stays within ε, for one chunk of samples.

Each bound comes with a closed-form bracket of its root; one root finder serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from . import _directional, _increase
from ._increase import EPS, Samples

Bracket = tuple[torch.Tensor, torch.Tensor]
_MARGIN, _WIDE_MARGIN = 5e-13, 5e-10
"""The root finder aims at ε exp(−margin) and accepts the radius if the bound lies within twice that of ε."""
_SMALL = 1e-150
"""Replaces a diameter of 0; its square does not underflow."""
_STEPS = 64
"""Maximum number of steps: 8 are typical; 64 halvings resolve any bracket where interpolation fails."""


def lse_radius(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    """Invert `lse`: at the root the terms E_j add up to exp ε − 1, and none exceeds that.

    Returns:
        The largest t with `lse` ≤ ε, shape (m,).
    """
    excess = _log_expm1(epsilon)[:, None] - s.log_p
    high = _softplus(excess) / s.reach
    low = _softplus(excess - math.log(max(1, s.log_p.shape[1] - 1))) / s.reach
    return _largest(_increase.lse, s, (low.amin(dim=1), high.amin(dim=1)), epsilon)


def chord_radius(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    """Invert `chord`; its radius is not below that of `lse`.

    Returns:
        The largest t with `chord` ≤ ε, shape (m,).
    """
    bracket = lse_radius(s, epsilon), _farthest(s, epsilon)
    return _largest(_increase.chord, s, bracket, epsilon)


def directional_radius(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    """Invert `directional`; its radius is not below that of `chord`.

    Returns:
        The largest t found with `directional` ≤ ε, shape (m,).
    """
    chord = chord_radius(s, epsilon)
    bracket = chord, _farthest(s, epsilon)
    return torch.maximum(_largest(_directional.directional, s, bracket, epsilon, _WIDE_MARGIN), chord)


def quadratic_radius(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    """Invert `quadratic`.

    Returns:
        The largest t with `quadratic` ≤ ε, shape (m,).
    """
    g = s.log_gradient.exp()
    root = 2 * epsilon / (g + (g.square() + epsilon * s.head.diameter.square() / 2).sqrt())
    return _largest(_increase.quadratic, s, (root, root), epsilon)


def flatness_radius(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    """Invert `flatness`.

    Returns:
        The largest t with `flatness` ≤ ε, shape (m,).
    """
    bracket = _flat_bracket(s, epsilon, s.log_curvature_paper)
    return _largest(_increase.flatness, s, bracket, epsilon)


def flatness_neuronwise_radius(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    """Invert `flatness_neuronwise`.

    Returns:
        The largest t with `flatness_neuronwise` ≤ ε, shape (m,).
    """
    bracket = _flat_bracket(s, epsilon, s.log_curvature_neuronwise)
    return _largest(_increase.flatness_neuronwise, s, bracket, epsilon)


def paper_radius(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    """Invert `paper`.

    Returns:
        The largest t with `paper` ≤ ε, shape (m,).
    """
    square, cube = _increase.log_paper_factors(s)

    def smaller(log_epsilon: torch.Tensor) -> torch.Tensor:
        return torch.minimum((log_epsilon - square) / 2, (log_epsilon - cube) / 3).exp()

    bracket = smaller((epsilon / 2).log()), smaller(epsilon.log())
    return _largest(_increase.paper, s, bracket, epsilon)


def best_radius(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    """Invert `best`: one bound within ε is enough.

    Returns:
        The largest t with `best` ≤ ε, shape (m,).
    """
    flat = torch.maximum(quadratic_radius(s, epsilon), flatness_neuronwise_radius(s, epsilon))
    return torch.maximum(directional_radius(s, epsilon), flat)


def _farthest(s: Samples, epsilon: torch.Tensor) -> torch.Tensor:
    # Upper bound of the t at which the true increase reaches ε: it is at least t‖g‖, and at least the mean increase
    # Σ_j p_j (cosh⟨u_j, v⟩ − 1) of v and −v along any u_j.
    excess = _log_expm1(epsilon)[:, None] - s.log_p
    arcosh = _softplus(torch.logaddexp(excess, (torch.logaddexp(2 * excess, excess + math.log(2))) / 2))
    return torch.minimum((arcosh / s.reach).amin(dim=1), epsilon / s.log_gradient.exp())


def _flat_bracket(s: Samples, epsilon: torch.Tensor, log_curvature: torch.Tensor) -> Bracket:
    # (exp R − 1)²/2 ≥ exp R − 1 − R ≥ (exp(R/2) − 1)², with half of ε, or all of it, for each of the terms.
    diameter = s.head.diameter.clamp(min=_SMALL)
    log_v = epsilon.log() + 2 * diameter.log() - log_curvature
    linear = epsilon / s.log_gradient.exp()
    high = torch.minimum(linear, 2 * _softplus(log_v / 2) / diameter)
    low = torch.minimum(linear / 2, _softplus(log_v / 2) / diameter)
    return low, high


def _largest(
    bound: Callable[[Samples, torch.Tensor], torch.Tensor],
    s: Samples,
    bracket: Bracket,
    epsilon: torch.Tensor,
    margin: float = _MARGIN,
) -> torch.Tensor:
    """Find the root of bound(t) = ε from below, for bounds that grow at least in proportion to t.

    False position (Illinois) in log t and log bound. The lower end is only ever a radius at which the bound
    was evaluated and found to hold. Converged samples are dropped.

    Returns:
        The lower end, shape (m,), rounded towards zero; infinite where the bound is 0 everywhere.
    """
    never = bound(s, torch.ones_like(epsilon)) == 0
    goal = epsilon.log() - margin
    low, high = (end.masked_fill(never, 1.0) for end in bracket)
    lo, hi = low * (1 - 1e-9), high * (1 + 1e-9)
    y_lo, y_hi = bound(s, lo).log() - goal, bound(s, hi).log() - goal
    if bool((y_lo > 0).any()):
        lo = torch.where(y_lo > 0, lo * (-y_lo).exp() * (1 - 1e-9), lo)
        y_lo = bound(s, lo).log() - goal
    lo, y_lo = torch.where(y_hi <= 0, hi, lo), torch.where(y_hi <= 0, y_hi, y_lo)
    ends, rows, part = torch.stack([lo, y_lo]), torch.arange(len(lo), device=lo.device), s
    state = torch.stack([lo, hi, y_lo, y_lo, y_hi, torch.zeros_like(lo)])
    for _ in range(_STEPS):
        going = (state[2] < -2 * margin) & (state[1] > state[0] * (1 + margin))
        if not bool(going.any()):
            break
        if 2 * int(going.sum()) < len(rows):
            ends[:, rows] = state[[0, 2]]
            rows, state, goal, going = rows[going], state[:, going], goal[going], going[going]
            part = s.take(rows)
        lo, hi, y_lo, weight_lo, weight_hi, last = state
        share = weight_lo / (weight_lo - weight_hi)
        share = torch.where((share > 0) & (share < 1), share, 0.5)
        mid = lo * (hi / lo) ** share
        y = bound(part, mid).log() - goal
        left = y <= 0
        side = torch.where(left, -1.0, 1.0)
        again = side == last
        weight_hi = torch.where(left, torch.where(again, weight_hi / 2, weight_hi), y)
        weight_lo = torch.where(left, y, torch.where(again, weight_lo / 2, weight_lo))
        lo, y_lo = torch.where(going & left, mid, lo), torch.where(going & left, y, y_lo)
        state = torch.stack([lo, torch.where(going & ~left, mid, hi), y_lo, weight_lo, weight_hi, side])
    ends[:, rows] = state[[0, 2]]
    lo, y_lo = ends
    radius = torch.where(y_lo <= 0, lo * (1 - 4 * EPS), 0.0)
    return radius.masked_fill(epsilon == 0, 0.0).masked_fill(never, torch.inf)


def _log_expm1(x: torch.Tensor) -> torch.Tensor:
    return x + torch.log(-torch.expm1(-x))


def _softplus(x: torch.Tensor) -> torch.Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))
