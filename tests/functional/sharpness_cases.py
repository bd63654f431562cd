"""Builders and the list of functions that the tests of sharpness share."""

import pytest
import torch

from art_flat.functional import (
    gini_impurity,
    hessian_max_eigenvalue,
    hessian_trace,
    log_gini_impurity,
    log_hessian_trace,
    log_relative_sharpness,
    relative_sharpness,
)

DEFINITIONS = ["paper", "neuronwise", "unsquared"]
ALL = {
    "gini_impurity": lambda z, phi, w: gini_impurity(z),
    "log_gini_impurity": lambda z, phi, w: log_gini_impurity(z),
    "hessian_trace": lambda z, phi, w: hessian_trace(z, phi),
    "log_hessian_trace": lambda z, phi, w: log_hessian_trace(z, phi),
    "hessian_max_eigenvalue": lambda z, phi, w: hessian_max_eigenvalue(z, phi),
    **{d: lambda z, phi, w, d=d: relative_sharpness(z, phi, w, definition=d) for d in DEFINITIONS},
    **{
        "log_" + d: lambda z, phi, w, d=d: log_relative_sharpness(z, phi, w, definition=d)
        for d in DEFINITIONS
    },
}
SCALES = [1, 10, 50, 200, 1000]
each = pytest.mark.parametrize("name", ALL)


def head(n, k, d, *, scale=1.0, dtype=torch.float64, seed=0):
    """Logits, features and weight; every third sample has a tie, one is undecided, one has a −inf."""
    generator = torch.Generator().manual_seed(seed)
    logits, features, weight = (
        torch.randn(s, generator=generator, dtype=dtype) for s in ((n, k), (n, d), (k, d))
    )
    logits *= scale
    logits[::3, 0] = logits[::3].amax(dim=1)
    logits[1] = 7.0
    if k > 2:
        logits[2, k // 2] = -torch.inf
    return logits, features, weight


def close(actual, expected, rtol):
    torch.testing.assert_close(actual.double(), expected.double(), rtol=rtol, atol=0.0, equal_nan=True)


def grads(function, *tensors):
    tensors = [t.detach().requires_grad_() for t in tensors]
    return torch.autograd.grad(function(*tensors).sum(), tensors, allow_unused=True)
