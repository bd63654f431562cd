"""Bugs that other libraries have had: every check passes, and fails for a version with the bug that is written out."""

import pytest
import torch
from certification_cases import build, samples
from torch import nn
from torch.nn import functional as F

from art_flat.certification import _relaxation, bounds_in_ball, trace
from art_flat.certification._ball import Ball
from art_flat.certification._intervals import Bounds
from art_flat.certification._relaxation import Maximum
from art_flat.certification._rows import Owners, Rows
from art_flat.errors import UnsupportedLayerError

CLIP = (torch.tensor(0.0), torch.tensor(1.0))
WIDE = (torch.tensor(-9.0), torch.tensor(10.0))


def row_values(a, x, delta, norm, *, clip=CLIP, tight=True):
    """The largest value of every row of a over the ball around the same row of x."""
    rows = Rows(a[:, None, None], Owners(torch.arange(len(a))))
    return Ball(x, delta, norm, clip).largest(rows, tight=tight)


def random_rows(n=40, d=30, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype)
    return a, torch.rand(n, d, generator=generator, dtype=torch.float64).to(dtype)


def largest_in_box(a, x, delta):
    """The exact largest value in L∞, in the type of the arguments and without a margin for rounding."""
    up, down = (1 - x).clamp(max=delta), x.clamp(max=delta)
    return (a * x).sum(1) + torch.where(a > 0, a * up, -a * down).sum(1)


@pytest.mark.parametrize("tight", [True, False])
def test_dual_exponent(tight):
    a, x = random_rows()
    right, wrong = ((a * x).sum(1) + 0.1 * torch.linalg.vector_norm(a, p, dim=1) for p in (2, 3))
    found = row_values(a, x, 0.1, "L2", clip=WIDE, tight=tight)
    assert torch.allclose(found, right, atol=1e-9)
    assert not torch.allclose(found, wrong, atol=1e-9)


@pytest.mark.parametrize(("delta", "norm"), [(0.1, "Linf"), (0.5, "L2"), (3.0, "L1")])
def test_the_box_counts(delta, norm):
    a, x = random_rows()
    x = x.round()
    assert (row_values(a, x, delta, norm) < row_values(a, x, delta, norm, clip=WIDE)).all()
    if norm == "Linf":
        torch.testing.assert_close(row_values(a, x, delta, norm), largest_in_box(a, x, delta))


def test_pooling_is_not_padded_with_zeros():
    net = build("pool_alone_padded")
    with torch.no_grad():
        net[0].bias.sub_(5)  # values below 0 at the edge
        x, graph = samples(6)[0], trace(net, (2, 6, 6))
        torch.testing.assert_close(graph.forward(x), net(x))
        padded_with_zeros = net[2:](F.max_pool2d(F.pad(net[0](x), (1, 1, 1, 1)), 3, 2))
    assert not torch.allclose(padded_with_zeros, net(x))


def test_batch_norm_with_statistics_of_the_batch():
    net = build("residual")
    trace(net, (2, 6, 6))
    net.bn.running_mean = net.bn.running_var = None
    with pytest.raises(UnsupportedLayerError, match="BatchNorm2d"):
        trace(net, (2, 6, 6))


def lines_hold(function, n_arguments):
    """The lines above and below a function, checked on random points of random intervals."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.randn(2, n_arguments, 500, generator=generator, dtype=torch.float64) * 3
    ends[:, :, :20] = ends[:1, :, :20]  # l = u
    ends[0, :, 20:40] = ends[1, :1, 20:40]  # ties
    lower, upper = ends.amin(0), ends.amax(0)
    below_slope, above_slope, below, above = function.relax(lower, upper)
    share = torch.rand(200, *lower.shape, generator=generator, dtype=torch.float64)
    points = lower + (upper - lower) * torch.cat([share, share.round()])
    y = torch.stack([function.value(p) for p in points])
    high, low = (above_slope * points).sum(1) + above, (below_slope * points).sum(1) + below
    finite = all(bool(torch.isfinite(t).all()) for t in (high, low))
    return finite and bool((y <= high + 1e-12).all()) and bool((y >= low - 1e-12).all())


FUNCTIONS = [
    *((Maximum(floor), k) for floor in (0.0, -torch.inf) for k in (1, 2, 4)),
    *((_relaxation.LeakyReLU(a), 1) for a in (0.01, 0.5, 1.0)),
    *((_relaxation.Clamp(a, b), 1) for a, b in ((0.0, 6.0), (-1.0, 1.0), (0.5, 0.6))),
    *((_relaxation.SShape(name), 1) for name in ("tanh", "sigmoid")),
]


@pytest.mark.parametrize(("function", "n_arguments"), FUNCTIONS, ids=str)
def test_lines_hold(function, n_arguments):
    assert lines_hold(function, n_arguments)


def test_pooling_that_need_not_follow_relu_has_no_floor_of_zero():
    class Wrong(Maximum):
        def relax(self, lower, upper):
            return Maximum(0.0).relax(lower, upper)

    assert not lines_hold(Wrong(-torch.inf), 2)


def test_sums_over_the_input_have_a_margin_for_rounding():
    a, x = random_rows(d=2000, dtype=torch.float32)
    for norm in ("Linf", "L2", "L1"):
        exact = row_values(a.double(), x.double(), 0.1, norm)
        assert (row_values(a, x, 0.1, norm).double() >= exact).all()
    exact = largest_in_box(a.double(), x.double(), 0.1)
    assert not (largest_in_box(a, x, 0.1).double() >= exact).all()


def test_sums_of_a_layer_have_a_margin_for_rounding():
    """Bounds in float32 of linear layers on a box of width 0 contain the values in float64."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(500, 400), nn.Linear(400, 300)).eval()
    graph = trace(net, (500,))
    x = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    narrow, wide = graph.to(torch.float32, x.device), graph.forward(x.double())
    bounds = Bounds(narrow)
    bounds.add(x, x, torch.zeros_like(x))
    for node in narrow.nodes[1:]:
        bounds.append(node)
    assert ((bounds.lower[-1] <= wide) & (wide <= bounds.upper[-1])).all()
    assert not (net(x) == wide).all()


def test_rows_through_layers_have_a_margin_for_rounding():
    """The bound of a net in float32 is never below the exact worst case of the same weights in float64."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 300), nn.ReLU(), nn.Linear(300, 2)).eval()
    with torch.no_grad():
        net[1].bias.add_(20)  # always active: the net is linear, and bounds are exact up to rounding
    x, y = samples(40)
    y = y.clamp(max=1)

    def worst_margin(dtype):
        first, last = (layer.weight.detach().to(dtype) for layer in (net[1], net[3]))
        sign = torch.where(y == 0, 1, -1).to(dtype)[:, None]
        a = sign * ((last[1] - last[0]) @ first)
        shift = (last[1] - last[0]) @ net[1].bias.detach().to(dtype) + (
            net[3].bias[1] - net[3].bias[0]
        ).item()
        return (largest_in_box(a, x.flatten(1).to(dtype), 0.1) + sign[:, 0] * shift).double()

    exact = worst_margin(torch.float64)
    found = bounds_in_ball(net, x.float(), y, delta=0.1, dtype=torch.float32).worst_margin
    assert (found >= exact - 1e-9).all()
    torch.testing.assert_close(bounds_in_ball(net, x.float(), y, delta=0.1).worst_margin, exact)
    assert not (worst_margin(torch.float32) >= exact - 1e-9).all()
