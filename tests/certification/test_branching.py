"""Branching: below the bound without it, never below what attacks reach."""

import pytest
import torch
from certification_cases import build, samples, worst_found

from art_flat.certification import bounds_in_ball, trace

RADII = {"Linf": 0.1, "L2": 0.5, "L1": 2.0}


@pytest.mark.parametrize(
    ("name", "norm"), [("relu", "Linf"), ("relu", "L2"), ("relu", "L1"), ("residual", "Linf")]
)
def test_branching_lowers_bounds_that_no_attack_leaves(name, norm):
    net = build(name)
    x, y = samples(2)
    graph, delta = trace(net, x.shape[1:]), RADII[norm]
    found = worst_found(net, x, y, delta=delta, norm=norm, restarts=3, steps=15)
    before = bounds_in_ball(graph, x, y, delta=delta, norm=norm)
    after = bounds_in_ball(graph, x, y, delta=delta, norm=norm, kind="branch", seconds=0.2)
    assert (found <= after.loss_increase + 1e-12).all()
    assert (after.loss_increase <= before.loss_increase).all()
    assert (after.worst_margin <= before.worst_margin).all()
    assert (after.loss_increase < 0.98 * before.loss_increase).any()


def test_branching_to_the_end_finds_the_worst_case_of_a_small_net():
    """With one hidden layer every part without an open ReLU is linear; the gap that is left is the loss's chord."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(2, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)
    ).double().eval()  # fmt: skip
    x, y = torch.tensor([[0.5, 0.4]], dtype=torch.float64), torch.tensor([0])
    side = torch.linspace(-0.4, 0.4, 401, dtype=torch.float64)
    grid = x + torch.cartesian_prod(side, side)
    logits = net(grid.clamp(0, 1))
    worst = (logits[:, 1] - logits[:, 0]).max()
    found = bounds_in_ball(net, x, y, delta=0.4, kind="branch", seconds=5).worst_margin[0]
    assert worst <= found + 1e-12
    assert found <= worst + 0.05


def test_branching_leaves_nets_without_relu_as_they_are():
    net, (x, y) = build("tanh"), samples(2)
    before = bounds_in_ball(net, x, y, delta=0.1)
    after = bounds_in_ball(net, x, y, delta=0.1, kind="branch", seconds=0.1)
    torch.testing.assert_close(before, after)
