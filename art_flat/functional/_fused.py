"""G and ‖φ‖² of many samples on a CPU, in few passes over memory.

The general formula (`sharpness`) reads the logits some ten times and writes as many arrays of their size. Here a block
of rows is taken through the processor's cache at once. With p = softmax(z), q = p without its entry above 0.6, if it
has one, S′ = Σq and Q′ = Σq²,

    G = S′ − Q′ + S′(1 − S′)   where an entry was left out (then S′ < 0.45), and S′ − Q′ elsewhere (then S′ = 1).

No term cancels by more than a factor of two, so that float32 gives G to a few units in its last place, as long as S′
is far from where float32 ends. Rows below that, rows with NaN and features of extreme length are left to the general
formula.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ._logits import at_least_float32, wide

_FEWEST = 64
"""Classes from which the blocks pay; it depends on no batch size, so that no result does."""
_BLOCK = 1 << 18
"""Logits per block."""
_FEATURES = 1 << 20
"""Features per block, at most."""
_WIDEST = 1 << 12
"""Features whose squares float32 adds up without losing more than a few units in the last place."""
_SMALLEST, _SHORTEST, _LONGEST = 1e-26, 1e-12, 1e12
"""S′ and ‖φ‖ within which float32 has all its digits."""


def fits(logits: torch.Tensor, features: torch.Tensor) -> bool:
    """Whether the samples can be taken this way: on a CPU, up to float32, without a graph or a transform.

    Args:
        logits: Shape (n, k).
        features: Shape (n, d).

    Returns:
        True if `impurity_and_length` may be called.
    """
    tensors = logits, features
    return (
        logits.shape[1] >= _FEWEST
        and all(t.device.type == "cpu" and type(t) is torch.Tensor for t in tensors)
        and at_least_float32(*tensors) == torch.float32
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
        and not torch.compiler.is_compiling()
        and not any(torch._C._functorch.is_functorch_wrapped_tensor(t) for t in tensors)  # torch.func.vmap
    )


def impurity_and_length(
    logits: torch.Tensor, features: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """G and ‖φ‖, and for which samples the two cannot be trusted.

    Args:
        logits: Shape (n, k).
        features: Shape (n, d).

    Returns:
        G and ‖φ‖ in the wide dtype, and numbers of the samples that the general formula must do, (m,).
    """
    n = logits.shape[0]
    total, root = (torch.empty(n, dtype=torch.float32) for _ in range(2))
    length = torch.empty(n, dtype=wide(features))
    for rows, p, scratch in _blocks(logits, features):
        torch.softmax(logits[rows].float(), dim=1, out=p)
        p.sub_(torch.hardshrink(p, 0.6, out=scratch))
        torch.sum(p, dim=1, out=total[rows])
        torch.linalg.vector_norm(p, dim=1, out=root[rows])
        length[rows] = _length(features[rows].float())
    total, root = (t.to(wide(t)) for t in (total, root))
    impurity = total - root.square() + torch.where(total < 0.45, total * (1 - total), 0.0)
    trusted = (total > _SMALLEST) & (length > _SHORTEST) & (length < _LONGEST)
    return impurity, length, (~trusted).nonzero()[:, 0]


def _length(phi: torch.Tensor) -> torch.Tensor:
    # float64 norms of float32 rows take twenty times as long as float32 norms of their parts
    starts = range(0, phi.shape[1], _WIDEST)
    parts = torch.stack([torch.linalg.vector_norm(phi[:, i : i + _WIDEST], dim=1) for i in starts], dim=1)
    length: torch.Tensor = torch.linalg.vector_norm(parts, dim=1, dtype=wide(phi))
    return length


def _blocks(
    logits: torch.Tensor, features: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    # consecutive rows, and two arrays of their size that are used again and again
    n, k = logits.shape
    step = max(1, min(_BLOCK // k, _FEATURES // max(1, features.shape[1])))
    p, scratch = (torch.empty(min(n, step), k, dtype=torch.float32) for _ in range(2))
    for start in range(0, n, step):
        size = min(step, n - start)
        yield slice(start, start + size), p[:size], scratch[:size]
