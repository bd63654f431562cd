"""Gini impurity and the trace of the Hessian from differences of logits, in the type in which sums are accumulated."""

from __future__ import annotations

import torch

from . import _fused
from ._logits import accumulation_dtype, spread, two_classes


def row_norms(rows: torch.Tensor) -> torch.Tensor:
    """‖φ‖ of every row, in the wide type."""
    norm: torch.Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=accumulation_dtype(rows))
    return norm


def trace(logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """‖φ‖² G, in the wide type."""
    if not _fused.fits(logits, features):
        return row_norms(features).square() * gini(logits)
    impurity, length, hard = _fused.impurity_and_length(logits, features)
    product = length.to(accumulation_dtype(features)).square() * impurity
    if hard is not None:
        product[hard] = row_norms(features[hard]).square() * gini(logits[hard])
    return product


def gini(logits: torch.Tensor) -> torch.Tensor:
    """G = Σ p (1 − p), in the wide type."""
    gap, total, inner = _gini_parts(logits)
    f = gap.exp()
    return f * inner / (1 + f * total).square()


def log_gini(logits: torch.Tensor) -> torch.Tensor:
    """log G, in the wide type."""
    gap, total, inner = _gini_parts(logits)
    return gap + inner.log() - 2 * (gap.exp() * total).log1p()


def _gini_parts(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    # The gap, S and S(2 + fS) − fQ of G = f (S(2 + fS) − fQ) / (1 + fS)², with f = exp(gap), and S = Σe_j and
    # Q = Σe_j² over the classes below the top one. Q ≤ S and f ≤ 1: at most half cancels.
    s = spread(two_classes(logits))
    e = s.others.exp()
    total, squares = e.sum(dim=1).to(s.gap), (e * e).sum(dim=1).to(s.gap)
    f = s.gap.exp()
    return s.gap, total, total * (2 + f * total) - f * squares
