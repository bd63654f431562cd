"""No attack leaves a bound: nets of every kind × norms × radii × kinds."""

import itertools

import pytest
import torch
from certification_cases import NETS, build, losses, samples, worst_found

from art_flat.certification import bounds_in_ball, trace
from art_flat.certification._ball import Ball
from art_flat.certification._graph import step_value
from art_flat.certification._preactivations import interval_bounds, sharpened_bounds

RADII = {"Linf": (0.01, 0.1, 0.5), "L2": (0.05, 0.5), "L1": (0.1, 2.0)}
KINDS = ("interval", "crown_interval", "crown")
ROUNDING = 1e-12


CASES = list(zip(NETS, itertools.cycle(RADII), strict=False))


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_no_attack_leaves_a_bound(name, norm):
    net = build(name)
    x, y = samples(classes=2 if name == "one_logit" else 3)
    graph, delta = trace(net, x.shape[1:]), RADII[norm][1]
    found = worst_found(net, x, y, delta=delta, norm=norm, restarts=2, steps=8)
    previous = torch.full_like(found, torch.inf)
    for kind in KINDS:
        bounds = bounds_in_ball(graph, x, y, delta=delta, norm=norm, kind=kind).loss_increase
        assert (found <= bounds + ROUNDING).all(), kind
        assert (bounds <= previous).all(), kind
        previous = bounds


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_every_step_stays_within_its_bounds(name, norm):
    net, delta = build(name, seed=1), RADII[norm][1]
    x, _ = samples(2, seed=1)
    graph = trace(net, x.shape[1:])
    ball = Ball(x, delta, norm, (torch.tensor(0.0), torch.tensor(1.0)))
    points = points_in_ball(x, delta, norm)
    for bounds in (interval_bounds(graph, ball), sharpened_bounds(graph, ball)):
        values = [points.flatten(0, 1)]
        for i, node in enumerate(graph.nodes[1:], 1):
            values.append(step_value(node, [values[j] for j in node.inputs]))
            seen = values[-1].unflatten(0, points.shape[:2])
            assert (seen >= bounds.lower[i] - ROUNDING).all(), node.name
            assert (seen <= bounds.upper[i] + ROUNDING).all(), node.name


def points_in_ball(x, delta, norm, n=64):
    noise = torch.randn(n, *x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    noise[::2] = noise[::2].sign()
    if norm == "Linf":
        return (x + delta * noise.clamp(-1, 1)).clamp(0, 1)
    length = noise.flatten(2).norm(p=2 if norm == "L2" else 1, dim=2)
    return (x + delta * noise / length[..., None, None, None]).clamp(0, 1)


@pytest.mark.parametrize("name", NETS)
def test_graph_computes_what_the_net_does(name):
    net = build(name)
    x, y = samples(5, seed=2, classes=1)
    torch.testing.assert_close(trace(net, x.shape[1:]).forward(x), net(x), rtol=1e-10, atol=1e-10)
    assert losses(net, x, y).shape == (5,)


@pytest.mark.slow
@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("name", NETS)
def test_no_attack_leaves_a_bound_of_many(name, norm):
    """Over 100,000 bounds in all cases, each against gradient ascent from five starts."""
    for seed in range(8):
        net = build(name, seed=seed, scale=(0.7, 1.0, 1.5, 2.5)[seed % 4])
        x, y = samples(22, seed=seed, classes=2 if name == "one_logit" else 3)
        graph = trace(net, x.shape[1:])
        for delta in (1e-4, *RADII[norm]):
            found = worst_found(net, x, y, delta=delta, norm=norm, restarts=5, steps=30, seed=seed)
            for kind in KINDS:
                bounds = bounds_in_ball(graph, x, y, delta=delta, norm=norm, kind=kind).loss_increase
                assert (found <= bounds + ROUNDING).all(), (seed, kind, delta)
