"""Backward propagation of rows through the graph, and the resulting bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from ._activation import Activation
from ._affine import Affine, Reshape
from ._ball import Ball
from ._graph import Add, Concatenate, Input, Node, Step
from ._intervals import Bounds
from ._rounding import gamma
from ._rows import Pairing, Rows, laid_out, layout_of


def upper_bounds(
    bounds: Bounds,
    ball: Ball,
    index: int,
    rows: Rows,
    *,
    through: bool = True,
    tight: bool = False,
    added: dict[int, torch.Tensor] | None = None,
    seen: dict[int, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, int]:
    """Upper bounds over the ball of linear functions of a node's value.

    Args:
        bounds: Bounds of every earlier node, with the lines of the nonlinear ones.
        ball: The region.
        index: The node.
        rows: Rows A of its value.
        through: Whether to continue through nonlinear steps, or stop at the bounds of their results.
        tight: Whether to find the exact optimum over the region.
        added: Per node, coefficients (n, height, width, channels) to add to whole rows, one row per sample, whose
            product with the node's value is known to be ≥ 0.
        seen: Gets the coefficients of nonlinear nodes.

    Returns:
        Upper bounds on A v, including rounding errors, shape (r,), and the largest number of coefficients
        that a row had during propagation.
    """
    total = rows.coefs.new_zeros(len(rows))
    rounding = rows.coefs.new_zeros(len(rows))
    pending: dict[int, Rows] = {index: rows}
    largest = 1
    for i in range(index, -1, -1):
        if i not in pending:
            continue
        rows, node = pending.pop(i), bounds.graph.nodes[i]
        largest = max(largest, rows.coefs[0].numel())
        if added is not None and i in added:
            whole = rows.whole(layout_of(node.shape))
            rows = replace(whole, coefs=whole.coefs + added[i], charged=False, merged=True)
        if seen is not None and isinstance(node.step, Activation):
            seen[i] = rows.whole(layout_of(node.shape)).coefs
        if _adds_rounding(rows, node.step):
            total = total + _error(rows, bounds.channel_error(i))
        if isinstance(node.step, Input):
            total = total + ball.largest(rows, tight=tight)
        elif isinstance(node.step, Activation) and not through:
            total = total + _largest_in_interval(bounds, i, rows)
        else:
            arguments, const = _pulled(bounds, i, node, rows)
            total = total + const
            _collect(bounds, pending, node, arguments)
        rounding = rounding + gamma(0, total.dtype) * total.abs()  # error of the sum
    return total + rounding, largest


def _adds_rounding(rows: Rows, step: Step) -> bool:
    """Whether the rounding error of a node is not part of the bound in another way.

    The input's sums and an activation's lines contain it, also for its arguments; moving values is exact, except
    where rows were added up.

    Returns:
        True if it must be added.
    """
    if isinstance(step, (Input, Activation)):
        return False
    return rows.merged or not (rows.charged or isinstance(step, (Reshape, Concatenate)))


def _error(rows: Rows, error: torch.Tensor) -> torch.Tensor:
    """Rounding error of a node's value, from the largest of each channel (n, channels)."""
    size = torch.linalg.vector_norm(rows.coefs, 1, dim=(1, 2))
    error_bound: torch.Tensor = torch.linalg.vecdot(size, error[rows.sample])
    return error_bound


def _pulled(bounds: Bounds, index: int, node: Node, rows: Rows) -> tuple[list[Rows], torch.Tensor | float]:
    """Rows of each argument, and the constants."""
    step = node.step
    if isinstance(step, Affine):
        pulled, const = step.pull(rows)
        return [pulled], 0.0 if const is None else const
    if isinstance(step, Activation):
        pulled, const = bounds.lines[index].pull(rows)
        return [pulled], const
    if isinstance(step, Add):
        return [_signed(rows, s) for s in step.signs], 0.0
    assert isinstance(step, Concatenate)
    return _split(rows, step.sizes, node), 0.0


def _signed(rows: Rows, sign: float) -> Rows:
    if sign > 0:
        return replace(rows, charged=False, merged=False)
    unit = None if rows.unit is None else (rows.unit[0], -rows.unit[1])
    return replace(rows, coefs=-rows.coefs, unit=unit, charged=False, merged=False)


def _split(rows: Rows, sizes: tuple[int, ...], node: Node) -> list[Rows]:
    """Rows of each branch: branches are joined along the last axis, or the outermost part of it."""
    inner = math.prod(node.shape[1:]) if len(node.shape) > 3 else 1
    parts = torch.split(rows.coefs, [size * inner for size in sizes], dim=3)
    return [replace(rows, coefs=p.contiguous(), unit=None, charged=False, merged=False) for p in parts]


def _collect(bounds: Bounds, pending: dict[int, Rows], node: Node, arguments: list[Rows]) -> None:
    for i, rows in zip(node.inputs, arguments, strict=True):
        layout = layout_of(bounds.graph.nodes[i].shape)
        pending[i] = pending[i].plus(rows, layout) if i in pending else rows


def _largest_in_interval(bounds: Bounds, index: int, rows: Rows) -> torch.Tensor:
    lower, upper = laid_out(bounds.lower[index]), laid_out(bounds.upper[index])
    middle, half = (upper + lower) / 2, (upper - lower) / 2
    error = gamma(middle[0].numel(), middle.dtype) * (middle.abs() + half) + bounds.error[index]
    return Pairing(middle, half + 2 * error).sums(rows, rows.coefs, rows.coefs.abs())
