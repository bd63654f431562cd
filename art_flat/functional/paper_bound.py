"""The expression that arXiv 2510.14231 states as a bound: (Δ²/2) κ + Δ³ k d/24 with Δ = t/‖φ‖."""

from __future__ import annotations

import math
from typing import Any


def paper_factors(log_curvature: Any, log_feature_norm: Any, head_size: int) -> tuple[Any, Any]:
    """The logarithms of its factors of t² and t³.

    Args:
        log_curvature: log(κ / ‖φ‖²), a tensor or an array of shape (n,).
        log_feature_norm: log ‖φ‖, of the same kind and shape.
        head_size: k · d, the number of weights of the head.

    Returns:
        Both of that kind and shape; the expression is exp(2 log t + first) + exp(3 log t + second).
    """
    return log_curvature - math.log(2), math.log(head_size / 24) - 3 * log_feature_norm
