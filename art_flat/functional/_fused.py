"""G and ‖φ‖² of many samples on a CPU, in few passes over memory.

The general formula (`sharpness`) reads the logits about ten times and writes as many arrays of their size. Here a block
of rows is processed in the cache at once. With p = softmax(z), q = p without its entry above 0.6, if it
has one, S′ = Σq and Q′ = Σq²,

    G = S′(2 − S′) − Q′,

since the omitted entry is 1 − S′; without one, S′ = 1 up to rounding, which has a second-order effect only. Little
more than half cancels (0.6² + 0.4² of 1), so that float32 computes G to a few units in its last place, as long as S′ is
far from underflow. Rows below that, rows with NaN and features of extreme length are computed by the general
formula.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ._logits import at_least_float32

_FEWEST = 64
"""Number of classes from which blocks are faster; independent of the batch size, so that results are, too."""
_BLOCK = 1 << 20
"""Logits per block."""
_FEATURES = 1 << 22
"""Maximum number of features per block."""
_WIDEST = 1 << 12
"""Number of squares that float32 adds up with an error of a few units in the last place."""
_SMALLEST, _SHORTEST, _LONGEST = 1e-26, 1e-12, 1e12
"""Range of S′ and ‖φ‖ in which float32 has full precision."""


def fits(logits: torch.Tensor, features: torch.Tensor) -> bool:
    """Whether the fused formula applies: on a CPU, up to float32, without a graph or a transform.

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
        and all(map(_has_memory, tensors))
    )


def impurity_and_length(
    logits: torch.Tensor, features: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """G and ‖φ‖, and the samples for which they are inaccurate.

    Args:
        logits: Shape (n, k).
        features: Shape (n, d).

    Returns:
        G and ‖φ‖, float32, and indices of the samples that need the general formula, (m,), or None.
    """
    n, k = logits.shape
    step = max(1, min(_BLOCK // k, _FEATURES // max(1, features.shape[1])))
    total, root, length = torch.empty(3, n, dtype=torch.float32)
    p = torch.empty(min(n, step), k, dtype=torch.float32)
    blocks = (t.split(step) for t in (logits, features, total, root, length))
    for z, phi, sums, norms, lengths in zip(*blocks, strict=True):
        q = p[: len(z)]
        torch.softmax(z.float(), dim=1, out=q)
        F.threshold(q.neg_(), -0.6, 0.0, inplace=True)  # −q where q < 0.6, else 0: faster than a mask
        torch.sum(q, dim=1, out=sums).neg_()
        torch.linalg.vector_norm(q, dim=1, out=norms)
        _length(phi.float(), lengths)
    without_squares = torch.addcmul(2 * total, total, total, value=-1)  # S′(2 − S′)
    return torch.addcmul(without_squares, root, root, value=-1), length, _untrusted(total, length)


def _has_memory(tensor: torch.Tensor) -> bool:
    """Whether a tensor is an array of numbers; inside the transforms of `torch.func` it is not."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return False
    return True


def _length(phi: torch.Tensor, out: torch.Tensor) -> None:
    # float64 norms of float32 rows take twenty times as long as float32 norms of their parts
    count = phi.shape[1] // _WIDEST
    rest = phi[:, count * _WIDEST :]
    if count:
        parts = phi[:, : count * _WIDEST].view(len(phi), count, _WIDEST)
        parts = torch.linalg.vector_norm(parts, dim=2)
        rest = torch.cat([parts, torch.linalg.vector_norm(rest, dim=1, keepdim=True)], dim=1)
    torch.linalg.vector_norm(rest, dim=1, out=out)


def _untrusted(total: torch.Tensor, length: torch.Tensor) -> torch.Tensor | None:
    if not len(total):
        return None
    smallest, shortest, longest = (t.item() for t in (total.amin(), *length.aminmax()))
    if smallest > _SMALLEST and shortest > _SHORTEST and longest < _LONGEST:  # False where one is NaN
        return None
    trusted = (total > _SMALLEST) & (length > _SHORTEST) & (length < _LONGEST)
    return (~trusted).nonzero()[:, 0]
