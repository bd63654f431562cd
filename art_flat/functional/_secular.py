"""The largest eigenvalue of diag p − p pᵀ from one scalar equation per sample."""

from __future__ import annotations

import torch

from ._logits import TopTwoSpread

_ITERATIONS = 8
"""Number of Newton steps; 5 reach the last bit in all tests, including gaps of 1e-12 and k = 1000."""


def largest_eigenvalue(s: TopTwoSpread) -> torch.Tensor:
    """λ_max(diag p − p pᵀ) as the Rayleigh quotient of its eigenvector, shape (n,).

    The eigenvector is detached, which is exact for a simple eigenvalue. The variance of v
    under p is taken around v_a, so that nothing cancels when p_a is near 1.

    Args:
        s: The spread of the logits, all in the wide dtype.

    Returns:
        λ_max, shape (n,).
    """
    v = _eigenvector(s)
    v_top = -v.sum(dim=1, keepdim=True)
    e = s.others.exp()
    f = s.gap.exp()[:, None]
    p = f * e / (1 + f * e.sum(dim=1, keepdim=True))
    w = v - v_top
    variance = (p * w * w).sum(dim=1) - (p * w).sum(dim=1).square()
    return variance / (v.square().sum(dim=1) + v_top[:, 0].square()).clamp_min(1.0)


@torch.no_grad()
def _eigenvector(s: TopTwoSpread) -> torch.Tensor:
    # Entries of v below the top class a, shape (n, k), 0 at a; v_a is minus their sum.
    # With λ = p_a f (1 + x), e_j = exp(z_j − m₂) and g_j = 1 − e_j: v_j ∝ e_j / (x + g_j), and x ≥ 0 solves
    #     F(x) = x / Σ_j e_j r_j + f x − (1 − f) = 0,   r_j = x / (x + g_j)  (1 where x = g_j = 0).
    # F has no pole at x ≥ 0, increases and is concave (the reciprocal of a Stieltjes sum), so that Newton's
    # steps climb to the root and never overshoot it, also with ties. They start from λ ≥ p_a (1 − p_a).
    e, g = s.others.exp(), -s.others.expm1()
    f, top_gap = s.gap.exp()[:, None], -s.gap.expm1()[:, None]
    total = e.sum(dim=1, keepdim=True)
    x = (total / (1 + f * total) - 1).clamp_min(0.0)
    tiny = torch.finfo(e.dtype).tiny
    ratio = (x + tiny) / (x + tiny + g)
    for _ in range(_ITERATIONS):
        # The second class has e = r = 1, so that both sums are ≥ 1, or 0 where there is none.
        first = (e * ratio).sum(dim=1, keepdim=True).clamp_min(1.0)
        second = (e * ratio.square()).sum(dim=1, keepdim=True).clamp_min(1.0)
        x = x - (x / first + f * x - top_gap) / (second / first.square() + f)
        x = x.clamp_min(0.0)
        ratio = (x + tiny) / (x + tiny + g)
    return e * ratio
