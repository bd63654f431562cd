"""Bugs that other libraries have had, planted one at a time: each is caught by a check that passes without it."""

import pytest
import torch
from certification_cases import build, samples
from torch import nn

from art_flat.certification import (
    _activation,
    _backward,
    _ball,
    _intervals,
    _relaxation,
    bounds_in_ball,
    trace,
)
from art_flat.certification._activation import Activation
from art_flat.certification._ball import Ball
from art_flat.certification._intervals import Bounds
from art_flat.certification._relaxation import Maximum
from art_flat.certification._rows import Owners, Rows
from art_flat.errors import UnsupportedLayerError

CLIP = (torch.tensor(0.0), torch.tensor(1.0))


def row_values(a, x, delta, norm, *, clip=CLIP, tight=True):
    rows = Rows(a[:, None, None], Owners(torch.arange(len(a))))
    return Ball(x, delta, norm, clip).largest(rows, tight=tight)


def random_rows(n=40, d=30, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype)
    return a, torch.rand(n, d, generator=generator, dtype=torch.float64).to(dtype)


def l2_is_exact_without_box():
    a, x = random_rows()
    expected = (a * x).sum(1) + 0.1 * a.square().sum(1).sqrt()
    return all(
        torch.allclose(
            row_values(a, x, 0.1, "L2", clip=(CLIP[0] - 9, CLIP[1] + 9), tight=t), expected, atol=1e-9
        )
        for t in (True, False)
    )


def test_dual_exponent(monkeypatch):
    assert l2_is_exact_without_box()
    right = torch.linalg.vector_norm
    monkeypatch.setattr(torch.linalg, "vector_norm", lambda a, ord=2, dim=None: right(a, 3, dim=dim))
    monkeypatch.setattr(
        Ball, "_one_sided", lambda self, rows: self.radius * right(rows.coefs, 3, dim=(1, 2, 3))
    )
    assert not l2_is_exact_without_box()


def box_counts():
    a, x = random_rows()
    x = x.round()
    return all(bool((row_values(a, x, d, n) < row_values(a, x, d, n, clip=(CLIP[0] - 9, CLIP[1] + 9))).all())
               for d, n in ((0.1, "Linf"), (0.5, "L2"), (0.5, "L2"), (3.0, "L1")))  # fmt: skip


def test_missing_box(monkeypatch):
    assert box_counts()
    right = Ball.__post_init__

    def without_box(self):
        self.clip = (CLIP[0] - 9, CLIP[1] + 9)
        right(self)

    monkeypatch.setattr(Ball, "__post_init__", without_box)
    assert not box_counts()


def test_zero_padding_in_pooling(monkeypatch):
    trace(build("pool_alone_padded"), (2, 6, 6))
    right = Activation._padded
    monkeypatch.setattr(Activation, "_padded", lambda self, v, value: right(self, v, 0.0))
    with pytest.raises(UnsupportedLayerError, match="MaxPool2d"):
        trace(build("pool_alone_padded"), (2, 6, 6))


def test_batch_norm_with_statistics_of_the_batch(monkeypatch):
    net = build("residual")
    trace(net, (2, 6, 6))
    right = nn.BatchNorm2d.forward
    monkeypatch.setattr(
        nn.BatchNorm2d,
        "forward",
        lambda self, x: nn.functional.batch_norm(x, None, None, self.weight, self.bias, True),
    )
    with pytest.raises(UnsupportedLayerError, match="BatchNorm2d"):
        trace(net, (2, 6, 6))
    monkeypatch.setattr(nn.BatchNorm2d, "forward", right)


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


def ball_sums_hold():
    a, x = random_rows(d=2000, dtype=torch.float32)
    exact = {norm: row_values(a.double(), x.double(), 0.1, norm) for norm in ("Linf", "L2", "L1")}
    return all(bool((row_values(a, x, 0.1, norm).double() >= exact[norm]).all()) for norm in exact)


def test_slack_of_the_sum_over_the_input(monkeypatch):
    assert ball_sums_hold()
    monkeypatch.setattr(_ball, "gamma", lambda n, dtype: 0.0)
    monkeypatch.setattr(_ball, "rounded_up", lambda value, scale=None: value)
    assert not ball_sums_hold()


def layer_intervals_hold():
    """Bounds in float32 of a linear layer on a box of width 0 contain the value in float64."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(500, 400), nn.Linear(400, 300)).eval()
    graph = trace(net, (500,))
    x = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    narrow, wide = graph.to(torch.float32, x.device), graph.forward(x.double())
    bounds = Bounds(narrow)
    bounds.add(x, x, torch.zeros_like(x))
    for node in narrow.nodes[1:]:
        bounds.append(node)
    return bool((bounds.lower[-1] <= wide).all() and (wide <= bounds.upper[-1]).all())


def test_slack_of_the_sums_of_a_layer(monkeypatch):
    assert layer_intervals_hold()
    monkeypatch.setattr(_intervals, "gamma", lambda n, dtype: 0.0)
    assert not layer_intervals_hold()


def rows_in_float32_hold():
    """The bound of a net in float32 is never below the exact worst case of the same weights in float64."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 300), nn.ReLU(), nn.Linear(300, 2)).eval()
    with torch.no_grad():
        net[1].bias.add_(20)  # always active: bounds are exact up to rounding
    x, y = samples(40)
    found = bounds_in_ball(net, x.float(), y.clamp(max=1), delta=0.1, dtype=torch.float32).worst_margin
    exact = bounds_in_ball(net, x.float(), y.clamp(max=1), delta=0.1).worst_margin
    return bool((found >= exact - 1e-9).all())


def test_slack_of_rows_through_layers(monkeypatch):
    assert rows_in_float32_hold()
    for module in (_ball, _intervals, _activation, _backward):
        monkeypatch.setattr(module, "gamma", lambda n, dtype: 0.0)
    assert not rows_in_float32_hold()
