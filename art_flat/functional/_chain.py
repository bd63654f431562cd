"""A tighter Lipschitz constant for sequential layers, from ellipsoids instead of balls.

Let a tensor change by Δ with ΔΔᵀ ⪯ S ‖Δx‖² for every change Δx of the input (an ellipsoid S). Then
    a matrix A               makes it  A S Aᵀ,
    an elementwise slope in [0, β] makes it  β² (2T − T S T)⁻¹  for any diagonal T > 0 with 2T − T S T ≻ 0,
and the constant is √λ_max(S) at the end. The second holds because such a slope gives Δ′ᵀ T (βΔ − Δ′) ≥ 0 for the
change Δ′ after it. T = 1/λ_max(S) already beats the product of norms; better T, and better weights of the inputs
for L∞, are found by gradient descent. Whatever T is found, the constant that it gives is sound.

Source: the multiplier is that of Fazlyab et al., Efficient and Accurate Estimation of Lipschitz Constants for
Deep Neural Networks, NeurIPS 2019; going through the layers one by one avoids their large semidefinite program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..typing import Norm
from ._operator_norm import SAFETY, largest_eigenvalue

LARGEST = 384
"""Largest number of units between two layers; the time grows with its cube, to a quarter of a minute at 1,024."""
_STEPS, _WORK = 40, 5e9
_REACH = 1.98
"""Of the 2 at which 2T − T S T becomes singular; keeps the inverse accurate."""


def chain_constant(
    matrices: Sequence[torch.Tensor], slopes: Sequence[float], start: float, norm: Norm
) -> float:
    """A Lipschitz constant of matrices with elementwise monotone functions between them.

    Args:
        matrices: At least two, float64, shape (m_i, m_{i−1}).
        slopes: The steepest slope β between each two.
        start: The constant before the first matrix.
        norm: The norm there.

    Returns:
        The constant at the end.
    """
    sizes = [len(m) for m in matrices[:-1]]
    parameters = [torch.zeros(n + 1, dtype=torch.float64) for n in sizes]
    first = matrices[0]
    if norm == "Linf":
        parameters.append((first.T @ first).abs().sum(dim=1).clamp(min=1e-12).log())
    for p in parameters:
        p.requires_grad_()
    optimiser = torch.optim.Adam(parameters, lr=0.1)
    steps = max(1, min(_STEPS, int(_WORK / sum(n**3 for n in sizes))))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, kept = math.inf, [p.detach().clone() for p in parameters]
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(steps):
            end = _ellipsoid(matrices, slopes, start, parameters)
            value = torch.linalg.eigvalsh(end)[-1]
            if float(value.detach()) < best:
                best, kept = float(value.detach()), [p.detach().clone() for p in parameters]
            optimiser.zero_grad()
            value.log().backward()
            optimiser.step()
            schedule.step()
    return math.sqrt(largest_eigenvalue(_ellipsoid(matrices, slopes, start, kept)[None])) * SAFETY


def _ellipsoid(
    matrices: Sequence[torch.Tensor],
    slopes: Sequence[float],
    start: float,
    parameters: Sequence[torch.Tensor],
) -> torch.Tensor:
    first, *others = matrices
    if len(parameters) == len(matrices):  # L∞: Σ_i d_i Δx_i² ≤ ‖Δx‖_∞² where the d_i add up to 1
        first = first * (parameters[-1].log_softmax(dim=0) / -2).exp()
    else:
        first = first * start
    s = first @ first.T
    for matrix, slope, p in zip(others, slopes, parameters, strict=False):
        # T = c · root², with c so that the largest eigenvalue of T^½ S T^½ is the share of 2 that p says
        root = p[:-1].exp()
        bent = root[:, None] * s * root
        c = _REACH * torch.sigmoid(p[-1]) / torch.linalg.eigvalsh(bent)[-1].clamp(min=1e-300)
        factor = torch.linalg.cholesky(2 * torch.eye(len(s), dtype=s.dtype) - c * bent)
        half = torch.linalg.solve_triangular(factor, (matrix / (c.sqrt() * root)).T, upper=False)
        s = slope**2 * (half.T @ half)
    return s
