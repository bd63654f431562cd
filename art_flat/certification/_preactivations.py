"""Bounds of every step over a ball: intervals alone, or tightened by backward rows where they leave a gap."""

from __future__ import annotations

import torch

from ._activation import Activation
from ._affine import Affine, Reshape, Scale
from ._backward import upper_bounds
from ._ball import Ball
from ._graph import Graph, Input
from ._intervals import Bounds
from ._rounding import gamma, rounded_down, rounded_up
from ._rows import Owners, Rows, as_shape, laid_out, layout_of

Known = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Lower and upper bounds of nodes' values, shape (n, *shape)."""
ELEMENTS = 1 << 18
"""Coefficients processed at once, chosen for the processor's cache."""


def interval_bounds(graph: Graph, ball: Ball) -> Bounds:
    """Bounds of every step by intervals, with the lines of the nonlinear steps around them."""
    return _forward(graph, ball, after=len(graph.nodes))


def sharpened_bounds(graph: Graph, ball: Ball, known: Known | None = None, *, after: int = 0) -> Bounds:
    """Bounds of every step, with backward rows for each argument of a nonlinear step that intervals leave open.

    Args:
        graph: The net.
        ball: The region.
        known: Bounds of nodes' values that hold on the relevant part of the region.
        after: Index of a node; only the arguments of later steps get rows.

    Returns:
        The bounds.
    """
    return _forward(graph, ball, after=after, known=known)


def _forward(graph: Graph, ball: Ball, *, after: int, known: Known | None = None) -> Bounds:
    bounds = Bounds(graph)
    for i, node in enumerate(graph.nodes):
        if isinstance(node.step, Input):
            lower, upper = ball.box
            bounds.add(lower, upper, gamma(0, lower.dtype) * torch.maximum(lower.abs(), upper.abs()))
            continue
        if isinstance(node.step, Activation) and node.inputs[0] > after:
            _sharpen(bounds, ball, i, node.step)
        bounds.append(node)
        if known is not None and i in known:
            bounds.tighten(i, *known[i])
        if isinstance(node.step, Activation):
            bounds.relax(i)
    return bounds


def _sharpen(bounds: Bounds, ball: Ball, index: int, activation: Activation) -> None:
    """Bound the undecided arguments of a nonlinear node: first the side nearer 0, which often decides them."""
    source = bounds.graph.nodes[index].inputs[0]
    path = _single_layer(bounds.graph, source)
    if path is not None and (ball.norm == "Linf" or _sharpen_first(bounds, ball, source, path)):
        return
    lower, upper = (laid_out(b[source]) for b in (bounds.lower, bounds.upper))
    from_above = upper < -lower
    for up in (from_above, ~from_above):
        lower, upper = (laid_out(b[source]) for b in (bounds.lower, bounds.upper))
        mask = activation.undecided(lower, upper)
        _bound_elements(bounds, ball, source, mask & up, mask & ~up)


def _bound_elements(bounds: Bounds, ball: Ball, source: int, up: torch.Tensor, down: torch.Tensor) -> None:
    """Bound the elements in `up` from above and those in `down` from below."""
    which = (up | down).nonzero()
    if not len(which):
        return
    sign = torch.where(up[tuple(which.T)], 1.0, -1.0).to(bounds.lower[0].dtype)
    shape = bounds.graph.nodes[source].shape
    rows = element_rows(which, sign, layout_of(shape)[2])
    found = in_chunks(bounds, ball, source, rows)
    upper = torch.full(up.shape, torch.inf, dtype=found.dtype, device=found.device)
    lower = -upper
    upper[tuple(which[sign > 0].T)] = found[sign > 0]
    lower[tuple(which[sign < 0].T)] = -found[sign < 0]
    bounds.tighten(source, as_shape(lower, shape), as_shape(upper, shape))


def element_rows(which: torch.Tensor, sign: torch.Tensor, channels: int) -> Rows:
    """Rows that are ± single elements.

    Args:
        which: (sample, row, column, channel) of each, int64, shape (r, 4), sorted by sample.
        sign: ±1 for each.
        channels: Number of channels of the node.

    Returns:
        The rows, as windows of one element; whole for vectors.
    """
    coefs = sign.new_zeros(len(which), channels)
    coefs[torch.arange(len(which), device=sign.device), which[:, 3]] = sign
    return Rows(coefs[:, None, None], Owners(which[:, 0]), which[:, 1:3], unit=(which[:, 3], sign))


def in_chunks(bounds: Bounds, ball: Ball, index: int, rows: Rows, *, tight: bool = False) -> torch.Tensor:
    """`upper_bounds` of many rows in chunks that fit the cache; the first rows determine the size of chunks."""
    layout = layout_of(bounds.graph.nodes[index].shape)
    if layout[:2] == (1, 1):
        rows = Rows(rows.coefs, rows.owners, unit=rows.unit)
    found, start, size = [], 0, 8
    while start < len(rows):
        part = rows.take(start, start + size)
        bound, largest = upper_bounds(bounds, ball, index, part, tight=tight)
        found.append(bound)
        start, size = start + size, max(8, ELEMENTS // largest)
    return torch.cat(found)


def _sharpen_first(bounds: Bounds, ball: Ball, source: int, path: list[Affine]) -> bool:
    """Bound all elements of the first layer in an L2 ball at once, from the squares of its weights.

    Returns:
        Whether it applied.
    """
    if ball.norm != "L2":
        return False
    up, down = ball.can_move
    for step in path:
        squares = step.spread_square(up, down)
        if squares is None:
            return False
        up, down = squares
    zero = Ball(ball.x, 0.0, "Linf", ball.clip)
    at_x = interval_bounds(bounds.graph.until(source), zero)
    terms = sum(step.terms for step in path)
    rise, fall = (ball.radius * (t * (1 + gamma(terms, t.dtype))).sqrt() for t in (up, down))
    lower, upper = at_x.lower[-1] - fall, at_x.upper[-1] + rise
    bounds.tighten(source, rounded_down(lower, fall + lower.abs()), rounded_up(upper, rise + upper.abs()))
    return True


def _single_layer(graph: Graph, index: int) -> list[Affine] | None:
    """The steps from the input to a node, if at most one of them sums over elements and none is nonlinear.

    Returns:
        The steps; intervals are exact there. None if there is no such path.
    """
    path: list[Affine] = []
    node = graph.nodes[index]
    while not isinstance(node.step, Input):
        if not isinstance(node.step, Affine):
            return None
        path.insert(0, node.step)
        node = graph.nodes[node.inputs[0]]
    summing = [step for step in path if not isinstance(step, (Scale, Reshape))]
    return path if len(summing) <= 1 else None
