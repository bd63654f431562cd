"""Flatness of the loss in the weights of the last linear layer, per sample.

The cross-entropy of logits z = Wφ + b has the Hessian (diag p − p pᵀ) ⊗ φφᵀ in W, for every label.
Its trace, its largest eigenvalue and the relative sharpness κ follow from p, ‖φ‖ and W in closed form.
Confident predictions make p(1 − p) and 1 − Σp² lose every digit in float32, so all functions here
compute from differences of logits instead (`_logits.spread`), and the logarithms never underflow.

Half-precision logits are taken to float32. A NaN, a logit of +inf, or a sample with no finite logit
gives NaN; a sample with a single finite logit is certain: 0, and −inf for logarithms.
A logistic head (k = 1) is the two-class softmax with logits [−z/2, z/2] and weight rows ±w/2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .._utils.validation import check_definition
from ..typing import Definition
from . import _fused
from ._logits import (
    TopTwoSpread,
    accumulation_dtype,
    at_least_float32,
    check_logits,
    frobenius_norm,
    spread,
    squared_row_distances,
    two_classes,
)
from ._secular import largest_eigenvalue

HEAD_POWER: Mapping[Definition, int] = {"paper": 2, "unsquared": 1}
"""By definition, the power p in κ = ‖W‖_F^p · Tr H; "neuronwise" is not such a product."""


def gini_impurity(logits: torch.Tensor) -> torch.Tensor:
    """G = Σ_j p_j (1 − p_j), how far from certain a prediction is.

    Args:
        logits: Shape (n, k).

    Returns:
        G, shape (n,), no unit, from 0 (certain) to 1 − 1/k (undecided).

    Raises:
        InputError: If `logits` is not a floating tensor of shape (n, k).

    Source: the factor of tr(diag p − p pᵀ) in arXiv 2510.14231.

    >>> gini_impurity(torch.tensor([[0.0, 0.0], [30.0, 0.0]]))
    tensor([5.0000e-01, 1.8715e-13])
    """
    check_logits(logits)
    return _gini(logits).to(at_least_float32(logits))


def log_gini_impurity(logits: torch.Tensor) -> torch.Tensor:
    """The logarithm of G, finite where G itself underflows.

    Args:
        logits: Shape (n, k).

    Returns:
        log G, shape (n,), from −inf (one finite logit) to log(1 − 1/k).

    Raises:
        InputError: If `logits` is not a floating tensor of shape (n, k).

    >>> log_gini_impurity(torch.tensor([[1000.0, 0.0]]))
    tensor([-999.3068])
    """
    check_logits(logits)
    return _log_gini(logits).to(at_least_float32(logits))


def hessian_trace(logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Tr H = ‖φ‖² G, the trace of the loss's Hessian in the weights of the last layer.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d).

    Returns:
        Tr H, shape (n,), nats per squared weight, ≥ 0. For a logistic head this is the trace over the
        two rows ±w/2, twice the trace p(1 − p)‖φ‖² over w itself.

    Raises:
        InputError: If shapes, dtypes or devices do not fit.

    >>> hessian_trace(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([12.5000])
    """
    check_logits(logits, features)
    return _trace(logits, features).to(at_least_float32(logits, features))


def log_hessian_trace(logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """The logarithm of Tr H, 2 log‖φ‖ + log G, finite where Tr H underflows.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d).

    Returns:
        log Tr H, shape (n,); −inf where Tr H is exactly 0.

    Raises:
        InputError: If shapes, dtypes or devices do not fit.

    >>> log_hessian_trace(torch.tensor([[1000.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([-996.0880])
    """
    check_logits(logits, features)
    return (2 * _norm(features).log() + _log_gini(logits)).to(at_least_float32(logits, features))


def hessian_max_eigenvalue(logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """λ_max(H) = ‖φ‖² λ_max(diag p − p pᵀ), the sharpness of the last layer in its sharpest direction.

    It lies between p_a(1 − p_a)‖φ‖² and 2 p_a(1 − p_a)‖φ‖² for the top class a. Only the first derivative
    is right; where the eigenvalue is multiple (three logits tied at the top) it is that of one eigenvector.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d).

    Returns:
        λ_max(H), shape (n,), nats per squared weight, ≥ 0. For a logistic head that of the two rows
        ±w/2, twice that of w itself.

    Raises:
        InputError: If shapes, dtypes or devices do not fit.

    >>> hessian_max_eigenvalue(torch.zeros(1, 3), torch.tensor([[3.0, 4.0]]))
    tensor([8.3333])
    """
    check_logits(logits, features)
    z = two_classes(logits)
    value = _norm(features).square() * largest_eigenvalue(spread(z.to(accumulation_dtype(z))))
    return value.to(at_least_float32(logits, features))


def relative_sharpness(
    logits: torch.Tensor,
    features: torch.Tensor,
    weight: torch.Tensor,
    *,
    definition: Definition = "paper",
    row_distances: torch.Tensor | None = None,
    weight_norm: torch.Tensor | None = None,
) -> torch.Tensor:
    """κ, the trace of the Hessian scaled by the weights of the last layer.

    ============== ======================================== ============================================
    `definition`   formula                                  who
    ============== ======================================== ============================================
    `"paper"`      ‖W‖_F² · Tr H                            arXiv 2510.14231
    `"neuronwise"` Σ_st ⟨w_s, w_t⟩ Tr H_st                  Petzka et al., NeurIPS 2021
                   = ‖φ‖² · ½ Σ_st p_s p_t ‖w_s − w_t‖²
    `"unsquared"`  ‖W‖_F · Tr H                             what the paper's public code computes
    ============== ======================================== ============================================

    The neuronwise one does not change when φ is scaled by c and W by 1/c, nor when all rows are shifted
    alike; the first of these also holds for the paper's.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d).
        weight: Weight W of the last layer, shape (k, d); the bias has no part in κ.
        definition: Which κ.
        row_distances: ‖w_i − w_j‖², shape (k, k), for callers that keep it between batches; made from
            `weight` if None.
        weight_norm: ‖W‖_F, shape (), of the two rows of a logistic head; likewise.

    Returns:
        κ, shape (n,), ≥ 0; in nats, except `"unsquared"`, in nats per weight. For a logistic head the
        first two equal those of the logistic loss in w; `"unsquared"` uses the norm of the two rows.

    Raises:
        InputError: If shapes, dtypes or devices do not fit, or the definition is unknown.

    Source: arXiv 2510.14231, Petzka et al. (Relative Flatness and Generalization, NeurIPS 2021).

    >>> z, phi, w = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> relative_sharpness(z, phi, w), relative_sharpness(z, phi, w, definition="neuronwise")
    (tensor([25.]), tensor([12.5000]))
    """
    check_logits(logits, features, weight)
    if check_definition(definition) == "neuronwise":
        kappa = _norm(features).square() * _pairs(logits, weight, row_distances)
    else:
        norm = frobenius_norm(weight) if weight_norm is None else weight_norm
        kappa = _trace(logits, features) * norm ** HEAD_POWER[definition]
    return kappa.to(at_least_float32(logits, features, weight))


def log_relative_sharpness(
    logits: torch.Tensor,
    features: torch.Tensor,
    weight: torch.Tensor,
    *,
    definition: Definition = "paper",
    row_distances: torch.Tensor | None = None,
    weight_norm: torch.Tensor | None = None,
) -> torch.Tensor:
    """The logarithm of κ, finite where κ underflows.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d).
        weight: Weight W of the last layer, shape (k, d).
        definition: Which κ; see `relative_sharpness`.
        row_distances: ‖w_i − w_j‖², shape (k, k); made from `weight` if None.
        weight_norm: ‖W‖_F, shape (); made from `weight` if None.

    Returns:
        log κ, shape (n,); −inf where κ is exactly 0.

    Raises:
        InputError: If shapes, dtypes or devices do not fit, or the definition is unknown.

    >>> log_relative_sharpness(torch.tensor([[1000.0, 0.0]]), torch.tensor([[3.0, 4.0]]), torch.eye(2))
    tensor([-995.3948])
    """
    check_logits(logits, features, weight)
    if check_definition(definition) == "neuronwise":
        log_factor = _log_pairs(logits, weight, row_distances)
    else:
        log_norm = (frobenius_norm(weight) if weight_norm is None else weight_norm).log()
        log_factor = _log_gini(logits) + HEAD_POWER[definition] * log_norm
    return (2 * _norm(features).log() + log_factor).to(at_least_float32(logits, features, weight))


def _norm(rows: torch.Tensor) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=accumulation_dtype(rows))
    return norm


def _trace(logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    # ‖φ‖² G in the wide dtype
    if not _fused.fits(logits, features):
        return _norm(features).square() * _gini(logits)
    gini, length, hard = _fused.impurity_and_length(logits, features)
    trace = length.to(accumulation_dtype(features)).square() * gini
    if hard is not None:
        trace[hard] = _norm(features[hard]).square() * _gini(logits[hard])
    return trace


def _gini(logits: torch.Tensor) -> torch.Tensor:
    gap, total, inner = _gini_parts(logits)
    f = gap.exp()
    return f * inner / (1 + f * total).square()


def _log_gini(logits: torch.Tensor) -> torch.Tensor:
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


def _pairs(logits: torch.Tensor, weight: torch.Tensor, row_distances: torch.Tensor | None) -> torch.Tensor:
    # ½ Σ_st p_s p_t ‖w_s − w_t‖²
    s, e, distances = _pair_weights(logits, weight, row_distances)
    f = s.gap.exp()
    return f * (e * distances).sum(dim=1) / (1 + f * e.sum(dim=1)).square()


def _log_pairs(
    logits: torch.Tensor, weight: torch.Tensor, row_distances: torch.Tensor | None
) -> torch.Tensor:
    s, e, distances = _pair_weights(logits, weight, row_distances)
    zero = distances == 0
    terms = (s.others + distances.masked_fill(zero, 1.0).log()).masked_fill(zero, -torch.inf)
    return s.gap + terms.logsumexp(dim=1) - 2 * (s.gap.exp() * e.sum(dim=1)).log1p()


def _pair_weights(
    logits: torch.Tensor, weight: torch.Tensor, row_distances: torch.Tensor | None
) -> tuple[TopTwoSpread, torch.Tensor, torch.Tensor]:
    # The spread, e and B of ½ Σ_st p_s p_t D_st = f Σ_j e_j B_j / (1 + fS)², all in the wide dtype, where
    # B_j = D_aj + ½ f Σ_i e_i D_ij; every term is ≥ 0. Each pair below the top is met twice, with ½; or once,
    # with 1, where one of its two is so unlikely that it vanishes from the inner sum (which counts where the
    # top classes share one row of W).
    z = two_classes(logits)
    s = spread(z.to(accumulation_dtype(z)))
    table = squared_row_distances(weight) if row_distances is None else row_distances.to(s.gap)
    e = s.others.exp()
    vanishing = e < 1e3 * torch.finfo(e.dtype).tiny
    inner = e.masked_fill(vanishing, 0.0) @ table
    share = torch.full_like(e, 0.5).masked_fill(vanishing, 1.0)
    return s, e, table[s.top] + s.gap.exp()[:, None] * share * inner
