"""Certified training: the loss is the bound that certificates give, and training on it lowers that bound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tolerances import close
from torch import nn
from torch.nn import functional as F

from art_flat.certification import TrainableGraph, bounds_in_ball, worst_case_loss
from art_flat.errors import InputError, UnsupportedLayerError
from art_flat.training import Adversary, CertifiedLoss, TrainingSettings, train

GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.rand(40, 1, 6, 6, generator=GENERATOR), torch.arange(40) % 3


def conv_net() -> nn.Module:
    """Batch norm and pooling in it, so that constants are folded and several inputs meet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(36, 3))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.stem, self.conv = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.scale, self.head = nn.Parameter(torch.full((3, 1, 1), 1.5)), nn.Linear(27, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x)) * self.scale
        return self.head(F.avg_pool2d(x + torch.tanh(self.conv(x)), 2).flatten(1))


def worst(net: nn.Module, delta: float) -> torch.Tensor:
    graph = TrainableGraph(net, X.shape[1:]).now()
    return worst_case_loss(graph, X, Y, delta=delta, clip_values=(0.0, 1.0))


@pytest.mark.parametrize("make", [conv_net, Residual])
@pytest.mark.parametrize("delta", [0.003, 0.1])
def test_is_the_interval_certificate(make: type, delta: float) -> None:
    net = make().eval()
    found = worst(net, delta)
    clean = F.cross_entropy(net.double()(X.double()), Y, reduction="none")
    expected = bounds_in_ball(net, X.double(), Y, delta=delta, kind="interval").loss_increase + clean
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, **close("net", scale=8))  # with slack for rounding


def test_is_the_formula_of_gowal_et_al_for_two_classes() -> None:
    """Centre and radius by hand, the last layer merged with the margin."""
    torch.manual_seed(0)
    first, last = nn.Linear(36, 8), nn.Linear(8, 2)
    net, delta = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last), 0.05
    y = Y % 2
    low, high = (X - delta).clamp(0, 1).flatten(1), (X + delta).clamp(0, 1).flatten(1)
    centre, radius = first((high + low) / 2), (high - low) / 2 @ first.weight.abs().T
    low, high = (centre - radius).relu(), (centre + radius).relu()
    direction = last.weight[1 - y] - last.weight[y]
    margin = (direction * (high + low) / 2 + direction.abs() * (high - low) / 2).sum(1)
    margin = margin + last.bias[1 - y] - last.bias[y]
    graph = TrainableGraph(net, X.shape[1:]).now()
    found = worst_case_loss(graph, X, y, delta=delta, clip_values=(0.0, 1.0))
    torch.testing.assert_close(found, F.softplus(margin), **close("net"))


@pytest.mark.parametrize("make", [conv_net, Residual])
def test_gradients_are_slopes_of_the_bound(make: type) -> None:
    net = make().eval().double()
    x = X.double()

    def mean(_: None = None) -> torch.Tensor:
        graph = TrainableGraph(net, x.shape[1:]).now()
        return worst_case_loss(graph, x, Y, delta=0.02, clip_values=(0.0, 1.0)).mean()

    parameters = list(net.parameters())
    gradients = torch.autograd.grad(mean(), parameters)
    directions = [torch.randn(p.shape, generator=GENERATOR, dtype=p.dtype) for p in parameters]
    step, ends = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=sign * step)
            ends.append(mean())
            for p, d in zip(parameters, directions, strict=True):
                p.sub_(d, alpha=sign * step)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    assert all(bool((g != 0).any()) for g in gradients)
    assert float(slope) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-4)


def test_modes_and_statistics_of_the_net_stay() -> None:
    net = conv_net().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    worst(net, 0.1).sum().backward()
    assert all(part.training for part in net.modules())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_ramp() -> None:
    loss = CertifiedLoss(delta="51/255", clean_weight=0.25, warmup=0.2, ramp=0.4)
    values = [(0.0, 0.0, 1.0), (0.2, 0.0, 1.0), (0.3, 0.05, 0.8125), (0.6, 0.2, 0.25), (0.99, 0.2, 0.25)]
    for done, delta, weight in values:
        assert loss.at(done) == pytest.approx((delta, weight))
    assert CertifiedLoss(warmup=0, ramp=0).at(0.0) == (0.1, 0.5)


def test_one_step_follows_the_mixed_loss() -> None:
    """Half of the training is done at the second of two steps: δ and κ are those of its ramp."""
    net, reference, lr = Residual(), Residual(), 0.1
    settings = CertifiedLoss(delta=0.1, warmup=0, ramp=1)
    for delta, weight in ((0.0, 1.0), (0.05, 0.75)):
        loss = F.cross_entropy(reference(X), Y)
        if delta:
            loss = weight * loss + (1 - weight) * worst(reference, delta).mean()
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for p, g in zip(reference.parameters(), gradients, strict=True):
                p.sub_(lr * g)
    # a cosine over two steps after no warm-up: lr, then lr / 2
    with torch.no_grad():
        for p, g in zip(reference.parameters(), gradients, strict=True):
            p.add_(lr / 2 * g)
    options = {"epochs": 2, "batch_size": 40, "lr": lr, "momentum": 0, "weight_decay": 0, "warmup": 0}
    train(net, X, Y, **options, certified=settings)
    for p, q in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q, **close("steps", scale=0.1))


def test_lowers_the_certified_bound() -> None:
    options = {"epochs": 8, "batch_size": 20, "lr": 0.05}
    plain, certified = (train(Residual(), X, Y, **options, certified=c) for c in (None, CertifiedLoss()))
    bounds = [
        bounds_in_ball(net, X, Y, delta=0.1, kind="interval").worst_margin for net in (plain, certified)
    ]
    assert bounds[1].median() < 0.5 * bounds[0].median()


def test_goes_on_exactly(tmp_path: Path) -> None:
    options = {"epochs": 3, "batch_size": 10, "lr": 0.02, "certified": CertifiedLoss(warmup=0.1, ramp=0.6)}
    whole = train(conv_net(), X, Y, **options).state_dict()

    def stop(done: int, total: int, loss: float) -> None:
        if done == 6:
            raise KeyboardInterrupt

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(conv_net(), X, Y, **options, checkpoint=path, progress=stop)
    other = {**options, "certified": CertifiedLoss(warmup=0.1, ramp=0.5)}
    with pytest.raises(InputError, match="certified"):
        train(conv_net(), X, Y, **other, checkpoint=path)
    again = train(conv_net(), X, Y, **options, checkpoint=path).state_dict()
    assert all(torch.equal(whole[k], again[k]) for k in whole)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delta": 0}, "`delta`|delta"),
        ({"clean_weight": 1.5}, "`clean_weight` must be at most 1"),
        ({"warmup": 0.6, "ramp": 0.5}, "`warmup` and `ramp`"),
        ({"ramp": -0.1}, "`ramp`"),
        ({"clip_values": (1, 0)}, "`clip_values`"),
    ],
)
def test_faults_name_the_setting(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        CertifiedLoss(**options)


def test_one_way_of_training_at_a_time() -> None:
    with pytest.raises(InputError, match="`adversary` and `certified`"):
        TrainingSettings(adversary=Adversary(), certified=CertifiedLoss())


def test_layers_without_bounds_are_named() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.GELU(), nn.Linear(8, 3))
    with pytest.raises(UnsupportedLayerError, match=r"'2' \(GELU\)"):
        train(net, X, Y, epochs=1, certified=CertifiedLoss())
