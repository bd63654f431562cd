"""The estimated cost of bounds: windows as rows really have them, growth with channels, and no large matrices."""

import pytest
import torch
from torch import nn

from art_flat.certification import _backward, bounds_in_ball, operations_of_bounds, trace
from art_flat.certification._ball import Ball
from art_flat.certification._operations import row_windows
from art_flat.certification._preactivations import element_rows, interval_bounds
from art_flat.certification._rows import layout_of


class Residual(nn.Module):
    """A stage with stride 2 and a shortcut."""

    def __init__(self, channels):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.first = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1, stride=2)
        self.head = nn.Linear(channels, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))
        return self.head(nn.functional.max_pool2d(x, 2).mean((2, 3)))


def traced(channels=4, size=24):
    torch.manual_seed(0)
    return trace(Residual(channels).double().eval(), (1, size, size))


def test_windows_are_those_of_the_rows(monkeypatch):
    graph, found = traced(), {}
    pulled = _backward._pulled

    def recording(bounds, index, node, rows):
        found[index] = rows.window
        return pulled(bounds, index, node, rows)

    monkeypatch.setattr(_backward, "_pulled", recording)
    x = torch.rand(1, *graph.input_shape, dtype=torch.float64)
    ball = Ball(x, 0.1, "Linf", (x.new_tensor(0.0), x.new_tensor(1.0)))
    bounds = interval_bounds(graph, ball)
    for index in graph.activations[1:]:
        source = graph.nodes[index].inputs[0]
        height, width, channels = layout_of(graph.nodes[source].shape)
        middle = torch.tensor([[0, height // 2, width // 2, 0]])
        found.clear()
        _backward.upper_bounds(bounds, ball, source, element_rows(middle, x.new_ones(1), channels))
        expected = row_windows(graph, source)
        assert found
        assert found == {i: expected[i] for i in found}


def test_cost_grows_with_channels_and_kinds():
    narrow, wide = traced(8), traced(32)
    for graph in (narrow, wide):
        costs = [operations_of_bounds(graph, kind) for kind in ("interval", "crown_interval", "crown")]
        assert costs == sorted(costs)
    ratio = operations_of_bounds(wide, "crown") / operations_of_bounds(narrow, "crown")
    assert 2 * 4 < ratio < 4**3  # more than in proportion; rows per layer times the cost of a row at most


@pytest.mark.parametrize("kind", ["interval", "crown_interval"])
def test_wide_convolutions_have_no_matrix_between_images(kind):
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()
    graph = trace(nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 2)).double().eval(), (1, 4, 4))
    bounds_in_ball(graph, torch.rand(1, 1, 4, 4), torch.tensor([0]), delta=0.01, kind=kind)
    wide = graph.nodes[3].step
    assert wide.weight.shape[:2] == (256, 256)
    assert max(matrix.numel() for matrix in wide._matrices.values()) <= wide.weight.numel()
