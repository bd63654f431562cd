"""Where the answer is known: linear nets, tiny radii, and nets that can be written in another way."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from certification_cases import build, losses, samples, worst_found
from sampling import slow
from torch import nn
from torch.nn import functional as F

from art_flat.certification import bounds_in_ball, trace
from art_flat.certification._ball import Ball
from art_flat.certification._kinds import Certificate
from art_flat.certification._preactivations import sharpened_bounds
from art_flat.datasets import load_dataset
from art_flat.models import fcn, load_weights

NORMS = ("Linf", "L2", "L1")
ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT.parent / "shared" / "data" / "mnist"
FCN = ROOT / "benchmarks" / "paper" / "nets" / "mnist_fcn" / "weights.safetensors"


def largest_linear(a, x, delta, norm):
    """max a·ξ over ‖ξ − x‖ ≤ δ, 0 ≤ ξ ≤ 1, by the definition: in L2 the multiplier is found by bisection."""
    room = np.where(a > 0, 1 - x, x)
    size = np.abs(a)
    if norm == "Linf":
        return a @ x + size @ np.minimum(room, delta)
    if norm == "L1":
        spent, gain = 0.0, 0.0
        for i in np.argsort(-size):
            move = min(room[i], delta - spent)
            spent, gain = spent + move, gain + size[i] * move
        return a @ x + gain
    if np.linalg.norm(room[size > 0]) <= delta:
        return a @ x + size @ room
    low, high = 1e-12, 1e12
    for _ in range(400):
        scale = math.sqrt(low * high)
        low, high = (scale, high) if np.linalg.norm(np.minimum(size * scale, room)) < delta else (low, scale)
    return a @ x + size @ np.minimum(size * low, room)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("delta", [1e-3, 0.1, 0.7, 5.0])
@pytest.mark.parametrize("preprocessed", [False, True])
def test_two_class_linear_nets_are_exact(norm, delta, preprocessed):
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.3, 1.3, (4, 3, 20)).clip(0, 1)
    weight, y = rng.normal(size=(2, 60)), np.array([0, 1, 0, 1])
    mean, std = (
        (np.array([0.2, 0.4, 0.6]), np.array([0.5, 2, 0.1])) if preprocessed else (np.zeros(3), np.ones(3))
    )
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).double().eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.as_tensor(weight))
        bias = net[1].bias.numpy()
    options = {"mean": mean, "std": std} if preprocessed else {}
    found = bounds_in_ball(net, torch.as_tensor(x), torch.as_tensor(y), delta=delta, norm=norm, **options)
    for i in range(4):
        a = (weight[1 - y[i]] - weight[y[i]]).reshape(3, 20) / std[:, None]
        shift = bias[1 - y[i]] - bias[y[i]] - (a * mean[:, None]).sum()
        worst = largest_linear(a.ravel(), x[i].ravel(), delta, norm) + shift
        clean = a.ravel() @ x[i].ravel() + shift
        expected = np.logaddexp(0, worst) - np.logaddexp(0, clean)
        assert found.worst_margin[i].item() == pytest.approx(worst, abs=1e-9)
        assert found.loss_increase[i].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("norm", "dual"), [("Linf", 1), ("L2", 2), ("L1", math.inf)])
@pytest.mark.parametrize("name", [slow("relu"), "tanh", "pool", slow("residual")])
def test_bound_of_a_tiny_ball_is_the_dual_norm_of_the_gradient(name, norm, dual):
    net = build(name)
    x, y = samples(2, seed=3)
    inner = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses(net, inner, y).sum(), inner)
    can_rise = torch.where(gradient > 0, x < 1, x > 0)
    expected = (gradient * can_rise).flatten(1).norm(p=dual, dim=1)
    graph, previous = trace(net, x.shape[1:]), math.inf
    for delta in (1e-3, 1e-5, 1e-7):
        bound = bounds_in_ball(graph, x, y, delta=delta, norm=norm).loss_increase
        error = ((bound / delta - expected) / expected).abs().max().item()
        assert error < max(previous, 1e-3)
        previous = error
    assert previous < 1e-3


def as_matrices(net, shape):
    """The net with every convolution written as a matrix, found by applying it to unit vectors."""
    layers, x = [nn.Flatten()], torch.zeros(1, *shape, dtype=torch.float64)
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            one = torch.eye(x.numel(), dtype=torch.float64).view(-1, *x.shape[1:])
            bias = layer(torch.zeros_like(x)).flatten()
            linear = nn.Linear(x.numel(), bias.numel()).double()
            linear.weight = nn.Parameter((layer(one).flatten(1) - bias).T)
            linear.bias = nn.Parameter(bias)
            layers.append(linear)
        elif not isinstance(layer, nn.Flatten):
            layers.append(layer)
        x = layer(x)
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("norm", NORMS)
def test_windows_give_the_same_bounds_as_matrices(norm):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(3, 4, 3, padding=1, dilation=2), nn.ReLU(), nn.Conv2d(4, 3, 2, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(12, 3),
    ).double().eval()  # fmt: skip
    x, y = samples(2, shape=(2, 9, 9), seed=4)
    dense = as_matrices(net, x.shape[1:])
    torch.testing.assert_close(dense(x), net(x))
    a, b = (bounds_in_ball(m, x, y, delta=0.05, norm=norm) for m in (net, dense))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_bounds_of_a_sample_do_not_depend_on_the_batch():
    net = build("pool")
    x, y = samples(5)
    graph = trace(net, x.shape[1:])
    together = bounds_in_ball(graph, x, y, delta=0.1)
    for size in (1, 2):
        apart = bounds_in_ball(graph, x, y, delta=0.1, batch_size=size)
        torch.testing.assert_close(together, apart, rtol=0, atol=1e-11)
    order = torch.tensor([3, 1, 4, 0, 2])
    moved = bounds_in_ball(graph, x[order], y[order], delta=0.1)
    torch.testing.assert_close(together.loss_increase[order], moved.loss_increase, rtol=0, atol=1e-11)


def test_batch_norm_is_folded_as_evaluation_mode_computes_it():
    net, (x, _) = build("residual"), samples(3)
    graph = trace(net, x.shape[1:])
    assert not any("bn" in node.name for node in graph.nodes)
    torch.testing.assert_close(graph.forward(x), net(x), rtol=1e-12, atol=1e-12)


def test_input_a_little_outside_the_clip_range_is_in_its_ball():
    net = build("relu")
    x, y = samples(3)
    x = x + 1e-6 * (x == 1) - 1e-6 * (x == 0)
    found = bounds_in_ball(net, x, y, delta=1e-7)
    ball = Ball(x, 1e-7, "Linf", (torch.tensor(0.0), torch.tensor(1.0)))
    lower, upper = ball.box
    assert ((lower <= x) & (x <= upper)).all()
    assert torch.isfinite(found.loss_increase).all()


def test_clip_range_matters_and_none_means_none():
    net = build("relu")
    x, y = samples(3)
    clipped, free = (
        bounds_in_ball(net, x, y, delta=0.1, clip_values=clip).loss_increase for clip in ((0, 1), None)
    )
    wide = bounds_in_ball(net, x, y, delta=0.1, clip_values=(-9.0, 9.0)).loss_increase
    assert (clipped < free).all()
    torch.testing.assert_close(wide, free, rtol=0, atol=1e-11)


def test_float32_bounds_hold_and_are_near():
    net = build("pool").float()
    x, y = samples(3)
    x = x.float()
    wide = bounds_in_ball(net, x, y, delta=0.05).loss_increase
    narrow = bounds_in_ball(net, x, y, delta=0.05, dtype=torch.float32).loss_increase
    assert (narrow > wide).all()
    assert (narrow < wide + 0.02 * (1 + wide)).all()


def test_ties_of_flat_inputs_do_not_divide_by_zero():
    net = build("pool")
    x, y = torch.zeros(2, 2, 6, 6, dtype=torch.float64), torch.tensor([0, 1])
    for clip in ((0.0, 1.0), (0.0, 0.0)):
        found = bounds_in_ball(net, x, y, delta=0.1, clip_values=clip).loss_increase
        assert torch.isfinite(found).all()
        if clip[1]:
            assert (worst_found(net, x, y, delta=0.1, norm="Linf") <= found).all()
    assert (found < 1e-9).all()  # only x itself is in the ball


def test_sharpening_never_loosens():
    net = build("residual")
    x, _ = samples(2)
    graph = trace(net, x.shape[1:])
    ball = Ball(x, 0.05, "L2", (torch.tensor(0.0), torch.tensor(1.0)))
    bounds = sharpened_bounds(graph, ball)
    assert all((u >= low).all() for low, u in zip(bounds.lower, bounds.upper, strict=True))


def test_labels_are_kept_exactly_where_every_margin_stays_negative():
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False)).double().eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 0], [0, 1.0], [-1, -1]]))
    x = torch.tensor([[[0.9, 0.1]], [[0.55, 0.5]]], dtype=torch.float64)
    found = bounds_in_ball(net, x, torch.tensor([0, 0]), delta=0.1)
    assert found.label_kept.tolist() == [True, False]
    torch.testing.assert_close(found.worst_margin, torch.tensor([-0.6, 0.15], dtype=torch.float64))


def test_huge_logits_keep_a_finite_bound():
    net, (x, y) = build("relu"), samples(2)
    with torch.no_grad():
        net[-1].weight.mul_(1e4)
    found = bounds_in_ball(net, x, y, delta=0.1)
    clean = F.cross_entropy(net(x), y, reduction="none")
    assert (found.loss_increase + clean > 700).any()
    assert torch.isfinite(found.loss_increase).all()


@pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason=f"there is no {MNIST}")
def test_quantiles_of_an_independent_implementation():
    """Loss increase by margins alone, of an MLP trained on MNIST over L∞ balls of radius 8/255, on 50 images."""
    net = load_weights(fcn(), FCN)
    data = load_dataset("mnist", root=MNIST, n=50)
    x, y = torch.as_tensor(data.x).double(), torch.as_tensor(data.y)
    graph = trace(net.eval(), x.shape[1:])
    ball = Ball(x, 8 / 255, "Linf", (torch.tensor(0.0), torch.tensor(1.0)))
    margins = Certificate(graph, ball, y).margins(sharpened_bounds(graph, ball))
    increase = torch.cat([torch.zeros(50, 1), margins], dim=1).logsumexp(1) - losses(net.double(), x, y)
    expected = [0.004, 0.030, 0.142, 0.418, 0.837]
    np.testing.assert_allclose(
        np.quantile(increase.detach(), [0.1, 0.25, 0.5, 0.75, 0.9]), expected, atol=6e-4
    )
