"""Upper bounds on the norms of linear operators, in float64.

Every number is the exact value, or above it, raised by `SAFETY` for the rounding of its computation. Power
iteration is not used: it approaches norms from below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

import torch

from ..typing import Norm

Linear = Callable[[torch.Tensor], torch.Tensor]
"""An affine map of a float64 tensor with a leading axis of 1; only its linear part counts."""

SAFETY = 1 + 1e-9
_FREQUENCY_ENTRIES = 1 << 22


def constant_in_norm(value: float, norm: Norm, size: int) -> float:
    """A Lipschitz constant for inputs in L2 as one for inputs in another norm, by ‖·‖₂ ≤ √n ‖·‖_∞ and ‖·‖₂ ≤ ‖·‖₁.

    Args:
        value: L ≥ 0 for inputs in L2.
        norm: The other norm: `"L2"`, `"Linf"` or `"L1"`.
        size: n, the number of elements of an input.

    Returns:
        √n L for L∞, at least the exact one; else L.

    >>> constant_in_norm(2.0, "Linf", 784)
    56.0
    """
    if norm != "Linf":
        return value
    constant, squared = value * math.sqrt(size), Fraction(value) ** 2 * size
    while math.isfinite(constant) and Fraction(constant) ** 2 < squared:
        constant = math.nextafter(constant, math.inf)
    return constant


def spectral_norm(matrix: torch.Tensor) -> float:
    """The largest singular value of a matrix.

    Args:
        matrix: Shape (m, n), float64.

    Returns:
        The value, at least the exact one.
    """
    rows, columns = matrix.shape
    gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    return math.sqrt(largest_eigenvalue(gram[None])) * SAFETY


def nonnegative_norm(linear: Linear, shape: Sequence[int]) -> float:
    """Schur's bound √(largest row sum · largest column sum) of a map with entries ≥ 0.

    Exact where all row sums and all column sums are alike: permutations, pooling without overlap.

    Args:
        linear: The map.
        shape: Shape of its argument.

    Returns:
        A bound on its spectral norm.
    """
    x = torch.zeros(tuple(shape), dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        offset = linear(x)
        (columns,) = torch.autograd.grad(offset.sum(), x)
    rows = linear(torch.ones_like(x)) - offset
    return math.sqrt(float(rows.detach().max()) * float(columns.max())) * SAFETY


def convolution_norm(
    weight: torch.Tensor,
    size: Sequence[int],
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> float:
    """The norm of the convolution on a torus that is large enough to contain the zero-padded one.

    On a torus of side N ≥ n + dilation (k − 1) the padded convolution is a part of the circular one, which
    the Fourier transform takes apart into matrices (outputs, inputs) per frequency; a stride s folds s
    frequencies per axis into one, so N is a multiple of s. Along an axis where the kernel has one element all
    frequencies have the same matrices, so N = s is enough.

    Args:
        weight: Kernel, shape (outputs, inputs / groups, k₁, …), float64.
        size: The side n of the input along each axis.
        stride: Stride along each axis.
        dilation: Dilation along each axis.
        groups: Number of groups.

    Returns:
        A bound on the spectral norm, for any zero padding.

    Source: Sedghi, Gupta, Long, The Singular Values of Convolutional Layers, ICLR 2019, for the circular case.
    """
    kernel = weight.shape[2:]
    sides = torus_sides(size, kernel, stride=stride, dilation=dilation)
    phases = [
        torch.outer(torch.arange(side, dtype=torch.float64), torch.arange(k, dtype=torch.float64) * d / side)
        for side, k, d in zip(sides, kernel, dilation, strict=True)
    ]
    waves = [torch.polar(torch.ones_like(p), -2 * math.pi * p) for p in phases]
    folded = [w.reshape(s, side // s, -1) for w, s, side in zip(waves, stride, sides, strict=True)]
    parts = weight.reshape(groups, -1, *weight.shape[1:]).to(torch.complex128)
    return _largest_singular_value(_blocks(parts, folded)) / math.sqrt(math.prod(stride)) * SAFETY


def torus_sides(
    size: Sequence[int], kernel: Sequence[int], *, stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """The side N of the torus along each axis; see `convolution_norm`."""
    return [
        s if k == 1 else math.ceil((n + d * (k - 1)) / s) * s
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]


def _blocks(parts: torch.Tensor, folded: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    # (frequencies · groups, outputs, aliases · inputs) for chunks of frequencies; the matrices of −f are the
    # conjugates of those of f, so half of the last axis is enough
    count = [w.shape[1] for w in folded]
    count[-1] = count[-1] // 2 + 1
    groups, outputs, inputs = parts.shape[:3]
    aliases = list(itertools.product(*(range(w.shape[0]) for w in folded)))
    flat = parts.reshape(groups * outputs * inputs, -1)
    frequencies = torch.cartesian_prod(*(torch.arange(c) for c in count)).reshape(-1, len(count))
    for some in torch.split(frequencies, max(1, _FREQUENCY_ENTRIES // (len(aliases) * len(flat)))):
        blocks = []
        for alias in aliases:
            wave = torch.ones(len(some), 1, dtype=torch.complex128)
            for w, a, f in zip(folded, alias, some.T, strict=True):
                wave = (wave[:, :, None] * w[a, f][:, None, :]).flatten(1)
            blocks.append((wave @ flat.T).reshape(-1, outputs, inputs))
        yield torch.cat(blocks, dim=2)


def _largest_singular_value(batches: Iterable[torch.Tensor]) -> float:
    best = 0.0
    for batch in batches:
        rows, columns = batch.shape[1:]
        best = max(best, largest_eigenvalue(batch @ batch.mH if rows <= columns else batch.mH @ batch))
    return math.sqrt(best)


def largest_eigenvalue(grams: torch.Tensor) -> float:
    """The largest eigenvalue of symmetric or Hermitian matrices, shape (b, n, n), up to rounding."""
    return max(0.0, float(torch.linalg.eigvalsh(grams).max()))
