"""The relative sharpness κ of the last linear layer, per sample.

κ is the trace of the loss's Hessian in the weights (see `hessian`), scaled by the weights, from p, ‖φ‖ and W in closed
form.
Confident predictions make p(1 − p) and 1 − Σp² lose every digit in float32, so all functions here
compute from differences of logits instead (`_logits.spread`), and the logarithms never underflow.

Half-precision logits are converted to float32. A NaN, a logit of +inf, or a sample with no finite logit
gives NaN; a sample with a single finite logit is certain: 0, and −inf for logarithms.
A logistic head (k = 1) is the two-class softmax with logits [−z/2, z/2] and weight rows ±w/2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .._utils.validation import check_definition
from ..typing import Definition
from ._impurity import log_gini, row_norms, trace
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

HEAD_POWER: Mapping[Definition, int] = {"paper": 2, "unsquared": 1}
"""By definition, the power p in κ = ‖W‖_F^p · Tr H; "neuronwise" is not such a product."""


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

    | `definition`   | formula                                                      | source                      |
    |----------------|--------------------------------------------------------------|-----------------------------|
    | `"paper"`      | ‖W‖_F² · Tr H                                                | arXiv 2510.14231            |
    | `"neuronwise"` | Σ_st ⟨w_s, w_t⟩ Tr H_st = ‖φ‖² · ½ Σ_st p_s p_t ‖w_s − w_t‖² | Petzka et al., NeurIPS 2021 |
    | `"unsquared"`  | ‖W‖_F · Tr H                                                 | the paper's public code     |

    The neuronwise one does not change when φ is scaled by c and W by 1/c, nor when all rows are shifted
    alike; the first of these also holds for the paper's.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d).
        weight: Weight W of the last layer, shape (k, d); the bias has no part in κ.
        definition: Definition of κ.
        row_distances: ‖w_i − w_j‖², shape (k, k), for callers that cache it between batches; computed from
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
        kappa = row_norms(features).square() * _pairs(logits, weight, row_distances)
    else:
        norm = frobenius_norm(weight) if weight_norm is None else weight_norm
        kappa = trace(logits, features) * norm ** HEAD_POWER[definition]
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
        definition: Definition of κ; see `relative_sharpness`.
        row_distances: ‖w_i − w_j‖², shape (k, k); computed from `weight` if None.
        weight_norm: ‖W‖_F, shape (); computed from `weight` if None.

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
        log_factor = log_gini(logits) + HEAD_POWER[definition] * log_norm
    return (2 * row_norms(features).log() + log_factor).to(at_least_float32(logits, features, weight))


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
