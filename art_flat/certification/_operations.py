"""Estimated cost of bounds over a ball, from the shapes of a graph alone."""

from __future__ import annotations

import math

from ._activation import Activation
from ._affine import Affine, Linear, Scale
from ._convolution import Convolution, Pair
from ._graph import Add, Graph, Input, Node
from ._kinds import CertificateKind
from ._rows import layout_of

_INTERVAL_PASSES = 10
"""Passes of interval bounds: centre, radius and size, over the ball and at the sample, and the sample's loss."""
_STEP_OPERATIONS = 1e5
"""Fixed cost of a step for each sample: calls, copies and the change of layout."""
_PRODUCT = 0.2
"""Cost of an operation in the matrix products of rows, relative to one in a forward pass of one sample."""
_ELEMENT = 120.0
"""Cost of each coefficient that a step of a row reads and writes."""
_INTERVAL_ELEMENT = 1500.0
"""Cost of each value of a net in interval bounds: two rounds of bounds, rounding errors and lines."""
_ROWS_PER_ELEMENT = (0.25, 0.5, 1.0)
"""Rows of each argument of the second, the third and later nonlinear steps: bounds widen with depth. It
is 0.1 in trained nets at small radii, and never more than 2."""


def operations_of_bounds(graph: Graph, kind: CertificateKind) -> float:
    """Estimated operations of the bounds of one sample at one radius; it depends on shapes alone.

    Args:
        graph: The net.
        kind: `"interval"`, `"crown_interval"` or `"crown"`.

    Returns:
        Multiplications and additions, counted in pairs, each as expensive as in a forward pass of one sample.

    >>> from torch import nn
    >>> from art_flat.certification import trace
    >>> graph = trace(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)).eval(), (2,))
    >>> operations_of_bounds(graph, "interval") < operations_of_bounds(graph, "crown")
    True
    """
    values = sum(math.prod(node.shape) for node in graph.nodes)
    passes = _INTERVAL_PASSES * sum(_pass(node) for node in graph.nodes)
    interval = passes + _INTERVAL_ELEMENT * values + _STEP_OPERATIONS * len(graph.nodes)
    if kind == "interval":
        return interval
    last = len(graph.nodes) - 1
    head = (2 * graph.n_classes - 1) * row_operations(graph, last)
    if kind == "crown_interval":
        return interval + head
    return interval + 2 * head + _layer_rows(graph)


def _layer_rows(graph: Graph) -> float:
    """Operations of the rows of the arguments of all nonlinear steps; the first step needs none."""
    total = 0.0
    for depth, i in enumerate(graph.activations[1:]):
        source = graph.nodes[i].inputs[0]
        n_rows = _ROWS_PER_ELEMENT[min(depth, 2)] * math.prod(graph.nodes[source].shape)
        total += n_rows * row_operations(graph, source)
    return total


def row_operations(graph: Graph, index: int) -> float:
    """Operations of carrying a row of one element of a node back to the input."""
    windows = row_windows(graph, index)
    return sum(_pull_operations(graph.nodes[i], window) for i, window in windows.items())


def row_windows(graph: Graph, index: int) -> dict[int, Pair]:
    """The windows that a row of one element of a node has on its way back to the input.

    Args:
        graph: The net.
        index: The node.

    Returns:
        Index of each node that the row passes → height and width, at most those of the image.
    """
    windows: dict[int, Pair] = {index: (1, 1)}
    for i in range(index, 0, -1):
        if i not in windows:
            continue
        for j in graph.nodes[i].inputs:
            before = _window_before(graph.nodes[i], windows[i], layout_of(graph.nodes[j].shape)[:2])
            other = windows.get(j, (0, 0))
            windows[j] = (max(before[0], other[0]), max(before[1], other[1]))
    return windows


def _pull_operations(node: Node, window: Pair) -> float:
    step, elements = node.step, math.prod(window) * layout_of(node.shape)[2]
    if isinstance(step, Linear):
        return _PRODUCT * step.weight.numel() + _ELEMENT * sum(step.weight.shape)
    if isinstance(step, Convolution):
        return _PRODUCT * step.row_operations(window) + _ELEMENT * elements
    taps = len(step.taps) if isinstance(step, Activation) else 1
    return _ELEMENT * taps * elements


def _window_before(node: Node, window: Pair, image: Pair) -> Pair:
    """Window of the argument, of an image of this size, that a window of the result depends on."""
    step = node.step
    if isinstance(step, (Convolution, Activation)):
        window = step.window_before(*window)
    elif not isinstance(step, (Scale, Add)):
        return image
    return min(window[0], image[0]), min(window[1], image[1])


def _pass(node: Node) -> float:
    """Operations of a step in a forward pass."""
    step, size = node.step, math.prod(node.shape)
    if isinstance(step, Linear):
        return float(step.weight.numel())
    if isinstance(step, Convolution):
        return float(size * math.prod(step.weight.shape[1:]))
    if isinstance(step, (Affine, Input, Add)):
        return float(size)
    return float(size * (len(step.taps) if isinstance(step, Activation) else 1))
