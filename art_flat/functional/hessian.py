"""The loss's Hessian in the weights of the last linear layer, per sample: its trace and its largest eigenvalue.

The cross-entropy of logits z = Wφ + b has the Hessian (diag p − p pᵀ) ⊗ φφᵀ in W, for every label.
Confident predictions make p(1 − p) and 1 − Σp² lose every digit in float32, so all functions here
compute from differences of logits instead (`_logits.spread`), and the logarithms never underflow.

Half-precision logits are converted to float32. A NaN, a logit of +inf, or a sample with no finite logit
gives NaN; a sample with a single finite logit is certain: 0, and −inf for logarithms.
A logistic head (k = 1) is the two-class softmax with logits [−z/2, z/2] and weight rows ±w/2.
"""

from __future__ import annotations

import torch

from ._impurity import gini, log_gini, row_norms, trace
from ._logits import accumulation_dtype, at_least_float32, check_logits, spread, two_classes
from ._secular import largest_eigenvalue


def gini_impurity(logits: torch.Tensor) -> torch.Tensor:
    """G = Σ_j p_j (1 − p_j), the Gini impurity of a prediction.

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
    return gini(logits).to(at_least_float32(logits))


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
    return log_gini(logits).to(at_least_float32(logits))


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
    return trace(logits, features).to(at_least_float32(logits, features))


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
    return (2 * row_norms(features).log() + log_gini(logits)).to(at_least_float32(logits, features))


def hessian_max_eigenvalue(logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """λ_max(H) = ‖φ‖² λ_max(diag p − p pᵀ), the sharpness of the last layer in its sharpest direction.

    It lies between p_a(1 − p_a)‖φ‖² and 2 p_a(1 − p_a)‖φ‖² for the top class a. Only the first derivative
    is correct; where the eigenvalue is multiple (three logits tied at the top) it is that of one eigenvector.

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
    value = row_norms(features).square() * largest_eigenvalue(spread(z.to(accumulation_dtype(z))))
    return value.to(at_least_float32(logits, features))
