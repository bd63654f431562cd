"""The factors of the relative sharpness κ = ‖φ‖² G ‖W‖_F², as logarithms and differentiable."""

from __future__ import annotations

import torch

from ..typing import Definition
from .hessian import log_gini_impurity
from .sharpness import log_relative_sharpness

COLUMNS = ("log_feature_norm", "log_gini", "log_weight_norm", "log_kappa")
"""Columns of `sharpness_factors`: log‖φ‖, log G, log‖W‖_F and log κ."""


def sharpness_factors(
    logits: torch.Tensor, features: torch.Tensor, weight: torch.Tensor, *, definition: Definition = "paper"
) -> torch.Tensor:
    """All `COLUMNS` of every sample; gradients flow through logits and features.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d).
        weight: Weight W of the last layer, shape (k, d).
        definition: Definition of κ, of the last column.

    Returns:
        Natural logarithms, float64, shape (n, 4); −inf where a factor is exactly 0.

    >>> z, phi, w = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.eye(2)
    >>> sharpness_factors(z, phi, w).exp().round(decimals=3)
    tensor([[ 5.0000,  0.5000,  1.4140, 25.0000]], dtype=torch.float64)
    """
    logits, features, weight = logits.double(), features.double(), weight.double()
    columns = [
        torch.linalg.vector_norm(features, dim=1).log(),
        log_gini_impurity(logits),
        torch.linalg.vector_norm(weight).log().expand(len(logits)),
        log_relative_sharpness(logits, features, weight, definition=definition),
    ]
    return torch.stack(columns, dim=1)
