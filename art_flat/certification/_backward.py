"""Rows carried backward through the graph, and the bounds they give."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from ._activation import Activation
from ._affine import Affine
from ._ball import Ball
from ._graph import Add, Concatenate, Input, Node
from ._intervals import Bounds
from ._rounding import gamma
from ._rows import Rows, dot, laid_out, layout_of


def upper_bounds(
    bounds: Bounds, ball: Ball, index: int, rows: Rows, *, through: bool = True, tight: bool = False
) -> tuple[torch.Tensor, int]:
    """Upper bounds over the ball of linear functions of a node's value.

    Args:
        bounds: Bounds of every earlier node, with the lines of the nonlinear ones.
        ball: The region.
        index: The node.
        rows: Rows A of its value.
        through: Whether to go on through nonlinear steps, or stop at the bounds of their results.
        tight: Whether to find the exact optimum over the region.

    Returns:
        Upper bounds on A v, what rounding can do included, shape (r,), and the largest number of coefficients
        that a row had on its way.
    """
    total = rows.coefs.new_zeros(len(rows))
    size = rows.coefs.new_zeros(len(rows))
    pending: dict[int, Rows] = {index: rows}
    steps, largest = 0, 1
    for i in range(index, -1, -1):
        if i not in pending:
            continue
        rows, node = pending.pop(i), bounds.graph.nodes[i]
        steps, largest = steps + 1, max(largest, rows.coefs[0].numel())
        coefs_size = torch.linalg.vector_norm(rows.coefs, 1, dim=(1, 2))
        size = size + (coefs_size * bounds.error[i][rows.sample]).sum(1)
        if isinstance(node.step, Input):
            total = total + ball.largest(rows, tight=tight)
        elif isinstance(node.step, Activation) and not through:
            total = total + _largest_in_interval(bounds, i, rows)
        else:
            arguments, const, error = _pulled(bounds, i, node, rows, coefs_size)
            total, size = total + const, size + error
            _collect(bounds, pending, node, arguments)
    # the sums of `total` over the steps: each at most the magnitudes that `size` is γ times of
    return total + (2 + steps) * size, largest


def _pulled(
    bounds: Bounds, index: int, node: Node, rows: Rows, coefs_size: torch.Tensor
) -> tuple[list[Rows], torch.Tensor | float, torch.Tensor | float]:
    """Rows of each argument, the constants, and what rounding in them can do beyond the node's own error."""
    step = node.step
    if isinstance(step, Affine):
        pulled, affine_const = step.pull(rows)
        return [pulled], 0.0 if affine_const is None else affine_const, 0.0
    if isinstance(step, Activation):
        lines = bounds.lines[index]
        pulled, const = lines.pull(rows)
        return [pulled], const, (coefs_size * lines.error[rows.sample]).sum(1)
    if isinstance(step, Add):
        return [_signed(rows, s) for s in step.signs], 0.0, 0.0
    assert isinstance(step, Concatenate)
    return _split(rows, step.sizes, node), 0.0, 0.0


def _signed(rows: Rows, sign: float) -> Rows:
    if sign > 0:
        return rows
    unit = None if rows.unit is None else (rows.unit[0], -rows.unit[1])
    return replace(rows, coefs=-rows.coefs, unit=unit)


def _split(rows: Rows, sizes: tuple[int, ...], node: Node) -> list[Rows]:
    """Rows of each branch: the axis that branches are joined along is the last, or the outermost part of it."""
    behind = math.prod(node.shape[1:]) if len(node.shape) > 3 else 1
    parts = rows.coefs.split([size * behind for size in sizes], dim=3)
    return [replace(rows, coefs=p.contiguous(), unit=None) for p in parts]


def _collect(bounds: Bounds, pending: dict[int, Rows], node: Node, arguments: list[Rows]) -> None:
    for i, rows in zip(node.inputs, arguments, strict=True):
        layout = layout_of(bounds.graph.nodes[i].shape)
        pending[i] = pending[i].plus(rows, layout) if i in pending else rows


def _largest_in_interval(bounds: Bounds, index: int, rows: Rows) -> torch.Tensor:
    lower, upper = laid_out(bounds.lower[index]), laid_out(bounds.upper[index])
    middle, half = (upper + lower) / 2, (upper - lower) / 2
    value = dot(rows, rows.coefs, middle) + dot(rows, rows.coefs.abs(), half)
    terms = rows.coefs[0].numel()
    size = torch.linalg.vector_norm(rows.coefs, 1, dim=(1, 2))
    error = gamma(terms, value.dtype) * (middle.abs() + half).amax((1, 2))
    return value + 2 * (size * error[rows.sample]).sum(1)
