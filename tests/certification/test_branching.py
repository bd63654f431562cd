"""Branching: below the bound without it, never below what attacks reach."""

import pytest
import torch
from certification_cases import build, losses, samples, worst_found
from sampling import slow

from art_flat.certification import bounds_in_ball, trace
from art_flat.certification._ball import Ball
from art_flat.certification._branching import _Search, _splittable
from art_flat.certification._graph import step_value
from art_flat.certification._rows import as_shape
from art_flat.errors import InputError


def values_of(graph, x):
    """The value of every step."""
    values = [x]
    for node in graph.nodes[1:]:
        values.append(step_value(node, [values[i] for i in node.inputs]))
    return values


RADII = {"Linf": 0.1, "L2": 0.5, "L1": 2.0}


@pytest.mark.parametrize(
    ("name", "norm"),
    [slow(("relu", "Linf")), ("relu", "L2"), slow(("relu", "L1")), slow(("residual", "Linf"))],
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


def test_a_bound_that_is_low_enough_ends_the_search():
    """Samples whose bound is low enough already are left alone; others stop below the goal, before time is over."""
    net, (x, y) = build("relu"), samples(4)
    graph = trace(net, x.shape[1:])
    before = bounds_in_ball(graph, x, y, delta=0.1).loss_increase
    goal = 0.98 * before.max()
    found = bounds_in_ball(
        graph, x, y, delta=0.1, kind="branch", seconds=60, enough=float(goal)
    ).loss_increase
    assert (found <= goal).all()
    assert (found[before <= goal] == before[before <= goal]).all()
    with pytest.raises(InputError, match='`enough` is for kind="branch"'):
        bounds_in_ball(graph, x, y, delta=0.1, enough=0.1)


@pytest.mark.parametrize("name", [slow("strided_groups"), "pool", slow("functional")])
def test_branching_beside_steps_that_are_not_split(name):
    """Pooling and other activations keep the bounds of the whole ball; ReLUs in front of and behind them are split."""
    net, (x, y) = build(name), samples(2, seed=3)
    found = worst_found(net, x, y, delta=0.05, norm="Linf", restarts=2, steps=10)
    before = bounds_in_ball(net, x, y, delta=0.05)
    after = bounds_in_ball(net, x, y, delta=0.05, kind="branch", seconds=0.2)
    assert (found <= after.loss_increase + 1e-12).all()
    assert (after.loss_increase <= before.loss_increase).all()
    assert (after.worst_margin <= before.worst_margin).all()


@pytest.mark.parametrize("seed", range(3))
def test_points_keep_to_the_bounds_of_every_part_they_are_in(seed):
    """Random points, and all parts on the way, those that were split again included."""
    net, (x, y) = build("relu", seed=seed), samples(1, seed=seed)
    graph = trace(net, x.shape[1:])
    ball = Ball(x, 0.1, "Linf", (torch.zeros(()).double(), torch.ones(()).double()))
    search = _Search(graph, ball, y, _splittable(graph))
    with torch.no_grad():
        parts = search._root()
        for _ in range(4):
            order = parts.value.argsort(descending=True)
            for half in search._halves(parts.take(order[:4])):
                parts = parts.joined(half)
    generator = torch.Generator().manual_seed(seed)
    points = (x + 0.1 * (2 * torch.rand(400, *x.shape[1:], generator=generator).double() - 1)).clamp(0, 1)
    values = values_of(graph, points)
    loss = losses(net, points, y.expand(400)).detach()
    for j in range(len(parts)):
        inside = torch.ones(400, dtype=torch.bool)
        for i, signs in parts.signs.items():
            inside &= (as_shape(signs, graph.nodes[i].shape)[j] * values[i] >= 0).flatten(1).all(1)
        assert (loss[inside] <= parts.value[j] + 1e-12).all()
        for i, (low, high) in parts.known.items():
            assert ((low[j] - 1e-12 <= values[i][inside]) & (values[i][inside] <= high[j] + 1e-12)).all()


def test_branching_leaves_nets_without_relu_as_they_are():
    net, (x, y) = build("tanh"), samples(2)
    before = bounds_in_ball(net, x, y, delta=0.1)
    after = bounds_in_ball(net, x, y, delta=0.1, kind="branch", seconds=0.1)
    torch.testing.assert_close(before, after)
