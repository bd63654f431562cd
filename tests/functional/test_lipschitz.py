import itertools
import math
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from art_flat import _errors
from art_flat.functional import _operator_norm
from art_flat.functional._chain import chain_constant
from art_flat.functional._layers import LinearMap, Slope, layer
from art_flat.functional.lipschitz import LipschitzBound, lipschitz_constant, radius_in_input

NORMS = ["L2", "Linf", "L1"]


# References


def jacobian(function, x):
    """Jacobian of one sample's flattened output, shape (outputs, inputs), float64."""
    flat = torch.autograd.functional.jacobian(lambda v: function(v[None]).flatten(), x.double())
    return flat.reshape(flat.shape[0], -1)


def norm_from(norm, matrix):
    """The norm of a small matrix to L2: exact, for L∞ from all vectors of signs."""
    if norm == "L2":
        return torch.linalg.svdvals(matrix)[0].item()
    if norm == "L1":
        return matrix.square().sum(dim=0).max().sqrt().item()
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=matrix.shape[1])), dtype=matrix.dtype)
    return (signs @ matrix.T).square().sum(dim=1).max().sqrt().item()


def seen(net, shape, *, n=12, norm="L2", output=None):
    """The largest Jacobian norm at random points, near and far."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    points *= torch.logspace(-2, 1.5, n, dtype=torch.float64).reshape(-1, *[1] * len(shape))
    wide = net.double() if output is None else output
    return max(norm_from(norm, jacobian(wide, x)) for x in points)


def randomised(net):
    """Random running statistics and scales in every batch norm; evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.running_mean.copy_(torch.randn(m.running_mean.shape, generator=generator))
            m.running_var.copy_(torch.rand(m.running_var.shape, generator=generator) + 0.2)
            if m.affine:
                m.weight.data = torch.randn(m.weight.shape, generator=generator) + 0.5
    return net.eval()


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Net(nn.Module):
    """A net from a forward function of (self, x) and named layers."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.run = forward
        for name, value in layers.items():
            setattr(self, name, value) if isinstance(value, nn.Module) else self.register_buffer(name, value)
        randomised(self)

    def forward(self, x):
        return self.run(self, x)


def conv(*args, **kwargs):
    return nn.Conv2d(*args, **kwargs)


# Linear layers: exact

LINEAR = {
    "linear": (lambda: nn.Linear(5, 7), (5,)),
    "linear on the last axis": (lambda: nn.Linear(3, 4), (6, 3)),
    "conv": (lambda: conv(2, 3, 3, padding=1), (2, 6, 5)),
    "conv valid": (lambda: conv(1, 4, 3), (1, 7, 7)),
    "conv stride": (lambda: conv(2, 3, 3, stride=2, padding=1), (2, 7, 8)),
    "conv stride beyond the kernel": (lambda: conv(2, 3, 2, stride=3), (2, 9, 9)),
    "conv dilation": (lambda: conv(2, 2, 3, padding=2, dilation=2), (2, 7, 7)),
    "conv groups": (lambda: conv(4, 6, 3, padding=1, groups=2), (4, 5, 5)),
    "conv all of it": (lambda: conv(4, 8, (3, 1), (1, 2), (1, 0), dilation=(2, 1), groups=2), (4, 7, 6)),
    "conv same": (lambda: conv(1, 3, 5, padding="same", dilation=2), (1, 6, 6)),
    "conv 1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 9)),
    "conv 3d": (lambda: nn.Conv3d(1, 2, 2, padding=1), (1, 3, 4, 3)),
    "conv reflect": (lambda: conv(1, 3, 3, padding=1, padding_mode="reflect"), (1, 6, 6)),
    "conv circular": (lambda: conv(2, 2, 3, padding=(1, 2), padding_mode="circular"), (2, 6, 5)),
    "conv replicate": (lambda: conv(1, 2, 5, padding=2, padding_mode="replicate", stride=2), (1, 6, 6)),
    "batch norm": (lambda: nn.BatchNorm2d(4), (4, 3, 3)),
    "batch norm without scale": (lambda: nn.BatchNorm1d(4, affine=False), (4,)),
    "conv and batch norm": (lambda: nn.Sequential(conv(2, 4, 3), nn.BatchNorm2d(4)), (2, 6, 6)),
    "linear and batch norm": (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), (4,)),
    "several": (
        lambda: nn.Sequential(
            conv(1, 3, 3), nn.BatchNorm2d(3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
        ),
        (1, 6, 6),
    ),
    "average pool": (lambda: nn.AvgPool2d(2), (2, 6, 6)),
    "adaptive pool": (lambda: nn.AdaptiveAvgPool2d(1), (3, 4, 5)),
}
each_linear = pytest.mark.parametrize(("build", "shape"), LINEAR.values(), ids=LINEAR)


@each_linear
def test_linear_layers_are_exact(build, shape):
    net = randomised(build())
    found = lipschitz_constant(net, shape)
    exact = seen(net, shape, n=1)
    assert exact <= found.value <= exact * (1 + 1e-6)
    assert found.sound


@each_linear
def test_bounds_for_layers_too_large_to_decompose(build, shape, monkeypatch):
    net = randomised(build())
    exact = seen(net, shape, n=1)
    monkeypatch.setattr(_operator_norm, "_DENSE_ENTRIES", 0)
    assert exact <= lipschitz_constant(net, shape).value <= 5 * exact


@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 1), (1, 2, 2), (3, 2, 1)])
def test_the_torus_is_nearly_exact_for_large_images(stride, dilation, groups, monkeypatch):
    net = conv(2, 4, 3, stride, dilation, dilation, groups=groups).eval()
    exact = seen(net, (2, 24, 24), n=1)
    monkeypatch.setattr(_operator_norm, "_DENSE_ENTRIES", 0)
    assert exact <= lipschitz_constant(net, (2, 24, 24)).value <= 1.05 * exact


def test_large_matrices_are_bounded_by_cholesky(monkeypatch):
    monkeypatch.setattr(_operator_norm, "_DECOMPOSE", 0)
    for build, shape in (LINEAR["linear"], LINEAR["conv stride"]):
        net = randomised(build())
        exact = seen(net, shape, n=1)
        assert exact <= lipschitz_constant(net, shape).value <= exact * (1 + 1e-4)
    tied = nn.Linear(40, 40).eval()
    nn.init.orthogonal_(tied.weight)
    assert 1 - 1e-6 <= lipschitz_constant(tied, (40,)).value <= 1 + 1e-6
    monkeypatch.setattr(_operator_norm, "_DENSE_ENTRIES", 0)
    net = conv(8, 16, 3, padding=1).eval()
    assert lipschitz_constant(net, (8, 6, 6)).value >= seen(net, (8, 6, 6), n=1)
    nn.init.zeros_(net.weight)
    assert lipschitz_constant(net, (8, 6, 6)).value == 0.0


def test_many_nearly_equal_singular_values(monkeypatch):
    monkeypatch.setattr(_operator_norm, "_DECOMPOSE", 0)
    left, right = (torch.linalg.qr(torch.randn(60, 60, dtype=torch.float64)).Q for _ in range(2))
    matrix = left @ torch.linspace(0.98, 1.0, 60, dtype=torch.float64).diag() @ right
    assert 1.0 <= _operator_norm.spectral_norm(matrix) <= 1.01


def test_the_torus_sees_the_highest_frequency(monkeypatch):
    net = conv(1, 1, (1, 2), bias=False).eval()
    net.weight.data = torch.tensor([[[[1.0, -1.0]]]])
    exact = seen(net, (1, 3, 7), n=1)
    monkeypatch.setattr(_operator_norm, "_DENSE_ENTRIES", 0)
    assert exact <= lipschitz_constant(net, (1, 3, 7)).value == pytest.approx(2.0)


# Nonlinear layers


SLOPED = [
    *(
        nn.ReLU(),
        nn.ReLU6(),
        nn.LeakyReLU(0.2),
        nn.LeakyReLU(3.0),
        nn.PReLU(),
        nn.RReLU(),
        nn.ELU(),
        nn.ELU(2.0),
    ),
    *(
        nn.CELU(0.5),
        nn.SELU(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.Mish(),
        nn.Hardswish(),
        nn.Softplus(),
    ),
    *(
        nn.Softplus(3.0),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.Hardtanh(),
        nn.Hardsigmoid(),
        nn.Softsign(),
        nn.LogSigmoid(),
    ),
    *(nn.Softshrink(), nn.Tanhshrink(), nn.LeakyReLU(-0.5), nn.ELU(-1.5), nn.PReLU(init=-0.5)),
]


@pytest.mark.parametrize("module", SLOPED, ids=str)
def test_slopes(module):
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(module.double().eval()(x).sum(), x)
    found = layer("a", module, (1, 3))
    assert isinstance(found, Slope)
    assert found.steepest * (1 - 1e-3) <= slope.abs().max() <= found.steepest * (1 + 1e-12)
    assert found.monotone == bool((slope >= 0).all())


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.MaxPool2d(2), 1.0),
        (nn.MaxPool2d(3, 2, 1), 2.0),
        (nn.MaxPool2d(3, 1), 3.0),
        (nn.MaxPool2d((1, 2), (1, 1)), math.sqrt(2)),
        (nn.MaxPool2d(2, 1, dilation=3), 2.0),
        (nn.MaxPool2d(2, 2, dilation=2), 2.0),
        (nn.AdaptiveMaxPool2d(4), 1.0),
        (nn.AdaptiveMaxPool2d(3), math.sqrt(2) ** 2),
    ],
    ids=str,
)
def test_max_pooling_counts_the_windows_of_an_input(module, expected):
    assert lipschitz_constant(module.eval(), (1, 8, 8)).value == pytest.approx(expected)
    spikes = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    worst = max(norm_from("L2", jacobian(module, x)) for x in spikes)
    assert worst <= expected + 1e-12
    if module.__class__ is nn.MaxPool2d and module.dilation == 1:
        assert worst == pytest.approx(expected)


# Nets


def _residual(net, x):
    return F.relu(net.b(net.a(x)) + x)


def _dense(net, x):
    y = torch.cat([x, F.relu(net.a(x))], dim=1)
    return F.max_pool2d(torch.cat((y, net.b(y)), 1), 2)


def _functional(net, x):
    x = (x - net.mean) / net.std
    x = F.leaky_relu(F.conv2d(x, net.a.weight, net.a.bias, 2, 1), 0.1)
    x = F.dropout(F.avg_pool2d(x, 2), 0.5, training=net.training)
    x = x.view(x.size(0), -1) * 1.5
    return torch.tanh(F.linear(x, net.w)) - 1


def _split(net, x):
    left, right = net.a(x).chunk(2, dim=1)
    return 0.5 * left - right[:, :, 1:].mean((2, 3), keepdim=True)


def _shapes(net, x):
    n, c = x.shape[:2]
    y = net.a(x).permute(0, 2, 3, 1).reshape(n, -1, c)
    return torch.flatten(net.b(y), 1) + y.mean(dim=1).sigmoid().sum(dim=-1, keepdim=True)


NETS = {
    "fully connected": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 3)),
        (6,),
    ),
    "joined again": (
        lambda: Net(lambda net, x: torch.cat(net.a(x).float().split(2, dim=1), 1), a=nn.Linear(4, 4)),
        (4,),
    ),
    "one layer": (lambda: nn.Sequential(nn.Linear(6, 4)), (6,)),
    "smooth": (lambda: nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 8), nn.SiLU(), nn.Linear(8, 3)), (6,)),
    "sigmoids": (
        lambda: nn.Sequential(nn.Linear(5, 7), nn.Sigmoid(), nn.Linear(7, 7), nn.SELU(), nn.Linear(7, 2)),
        (5,),
    ),
    "convolutional": (
        lambda: nn.Sequential(
            *(conv(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
            *(conv(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            *(nn.Dropout(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
        ),
        (1, 10, 10),
    ),
    "strided": (
        lambda: nn.Sequential(conv(1, 4, 3, 2), nn.ReLU(), conv(4, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
        (1, 8, 8),
    ),
    "residual": (
        lambda: Net(_residual, a=nn.Sequential(conv(2, 2, 3, padding=1), nn.ReLU()), b=conv(2, 2, 3, padding=1)),
        (2, 5, 5),
    ),
    "concatenation": (lambda: Net(_dense, a=conv(2, 3, 3, padding=1), b=conv(5, 2, 1)), (2, 4, 4)),
    "functions": (
        lambda: Net(
            _functional,
            a=conv(2, 3, 3),
            w=torch.randn(4, 12),
            mean=torch.tensor([0.5, 0.1]).reshape(1, 2, 1, 1),
            std=torch.tensor([0.2, 3.0]).reshape(1, 2, 1, 1),
        ),
        (2, 8, 8),
    ),
    "functional batch norm": (
        lambda: Net(
            lambda net, x: F.relu(F.batch_norm(net.a(x), net.m, net.v, net.w, None, False, 0.1, 1e-3)),
            a=conv(1, 3, 3, padding=1),
            **{"m": torch.randn(3), "v": torch.rand(3) + 0.1, "w": torch.randn(3)},
        ),
        (1, 4, 4),
    ),
    "split": (lambda: Net(_split, a=conv(1, 4, 3)), (1, 6, 6)),
    "shapes": (lambda: Net(_shapes, a=conv(2, 2, 2), b=nn.Linear(2, 3)), (2, 4, 4)),
    "broadcast": (
        lambda: Net(lambda net, x: torch.relu(x.expand(-1, 3, -1, -1)) * net.c + net.c, c=torch.ones(3, 1, 1)),
        (1, 3, 3),
    ),
    "broadcast by constants": (lambda: Net(lambda net, x: x * net.c, c=torch.ones(3, 1, 1)), (1, 3, 3)),
    "same branch twice": (lambda: Net(lambda net, x: net.a(x) + net.a(x) - x, a=nn.Linear(4, 4)), (4,)),
}  # fmt: skip
each_net = pytest.mark.parametrize(("build", "shape"), NETS.values(), ids=NETS)


@each_net
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dense", [True, False])
def test_no_jacobian_exceeds_the_constant(build, shape, norm, dense, monkeypatch):
    if not dense:
        monkeypatch.setattr(_operator_norm, "_DENSE_ENTRIES", 0)
    net = randomised(build())
    constant = lipschitz_constant(net, shape, norm=norm).value
    if norm != "Linf" or math.prod(shape) <= 10:
        largest = seen(net, shape, norm=norm)
        assert largest <= constant
        assert constant <= (60 if dense else 400) * largest
    generator = torch.Generator().manual_seed(2)
    x, step = (torch.randn(200, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    if norm == "Linf":
        step = step.sign()
    with torch.no_grad():
        moved = (net.double()(x + step) - net.double()(x)).flatten(1).norm(dim=1)
    length = torch.linalg.vector_norm(step.flatten(1), ord={"L2": 2, "Linf": math.inf, "L1": 1}[norm], dim=1)
    assert (moved <= constant * length).all()


@pytest.mark.parametrize("entries", [1 << 24, 0])
def test_images_without_an_axis_of_channels(entries, monkeypatch):
    monkeypatch.setattr(_operator_norm, "_DENSE_ENTRIES", entries)
    net = nn.Sequential(conv(1, 2, 3), nn.MaxPool2d(3, 1)).eval()
    image, channel = lipschitz_constant(net, (6, 6)), lipschitz_constant(net, (1, 6, 6))
    assert image.value == pytest.approx(channel.value)
    assert image.layers[-1].value == pytest.approx(3.0)


def test_constants_of_branches():
    w = torch.full((3, 3), 0.5)
    net = Net(lambda net, x: F.linear(x, net.w) + x, w=w)
    assert lipschitz_constant(net, (3,)).value == pytest.approx(1.5 + 1)
    net = Net(lambda net, x: torch.cat([F.linear(x, net.w), 2 * x, x[:, :1]], 1), w=w)
    assert lipschitz_constant(net, (3,)).value == pytest.approx(math.hypot(1.5, 2, 1))
    net = Net(lambda net, x: net.w + 0 * net.w)
    net.w = torch.ones(1)
    assert lipschitz_constant(net, (3,)).value == 0.0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("depth", [2, 3])
def test_ellipsoids_lie_between_the_worst_pattern_and_the_product(norm, depth):
    sizes = [6, 7, 5, 4][: depth + 1]
    weights = [torch.randn(m, n, dtype=torch.float64) for n, m in itertools.pairwise(sizes)]
    layers = []
    for w in weights:
        item = nn.Linear(w.shape[1], w.shape[0]).double()
        item.weight.data = w
        layers += [item, nn.ReLU()]
    found = lipschitz_constant(nn.Sequential(*layers).eval(), (6,), norm=norm)
    product = math.prod(norm_from("L2", w) for w in weights[1:]) * norm_from(norm, weights[0])
    worst = 0.0
    for open_ in itertools.product([0.0, 1.0], repeat=sum(sizes[1:-1])):
        gates = torch.tensor(open_, dtype=torch.float64).split(sizes[1:-1])
        matrix = weights[0]
        for gate, w in zip(gates, weights[1:], strict=True):
            matrix = w @ (gate[:, None] * matrix)
        worst = max(worst, norm_from(norm, matrix))
    assert worst <= found.value
    assert found.value < (0.95 if norm == "L2" else 1.2) * product
    assert norm == "L1" or found.layers[-1].how == "ellipsoids"


@pytest.mark.parametrize("slope", [0.25, 2.0])
def test_ellipsoids_with_other_slopes(slope):
    first, second = torch.randn(6, 4, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    gates = slope * torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    worst = max(norm_from("L2", second @ (gate[:, None] * first)) for gate in gates)
    found = chain_constant([first, second], [slope], 3.0, "L2")
    assert 3 * worst <= found <= 0.98 * 3 * slope * norm_from("L2", first) * norm_from("L2", second)


@pytest.mark.parametrize("entries", [1 << 24, 0])
def test_steep_slopes_count(entries, monkeypatch):
    monkeypatch.setattr(_operator_norm, "_DENSE_ENTRIES", entries)
    net = nn.Sequential(nn.Linear(1, 1), nn.SELU(), nn.Linear(1, 1), nn.LeakyReLU(3.0)).eval()
    for item in (net[0], net[2]):
        nn.init.constant_(item.weight, 2.0)
    assert lipschitz_constant(net[:2], (1,)).value == pytest.approx(2 * 1.7581, rel=1e-3)
    assert lipschitz_constant(net, (1,)).value == pytest.approx(2 * 1.7581 * 2 * 3, rel=1e-3)


def test_infinity_norm_is_near_the_exact_one():
    for seed in range(5):
        torch.manual_seed(seed)
        matrix = torch.randn(4, 9, dtype=torch.float64) * torch.rand(9, dtype=torch.float64)
        matrix[:, seed] = 0.0
        exact = norm_from("Linf", matrix)
        bound = _operator_norm.infinity_norm(matrix)
        assert exact <= bound <= min(1.1 * exact, 3.0 * norm_from("L2", matrix))
    assert _operator_norm.infinity_norm(torch.zeros(2, 3, dtype=torch.float64)) == 0.0


# Head, kinds, table


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).eval()


def test_head_and_feature_extractor_are_the_same():
    net = small()
    full, features = lipschitz_constant(net, (1, 2, 2), head="4"), lipschitz_constant(net[:4], (1, 2, 2))
    assert full == features
    assert full.value == pytest.approx(seen(net[1:3], (4,), n=1))
    net = Net(
        lambda net, x: (net.head(F.relu(net.body(x))), net.other(x)),
        head=nn.Linear(5, 2),
        body=nn.Linear(3, 5),
        other=nn.LayerNorm(3),
    )
    exact = norm_from("L2", net.body.weight.detach().double())
    assert lipschitz_constant(net, (3,), head="head").value == pytest.approx(exact)


def test_table():
    found = lipschitz_constant(small(), (1, 2, 2))
    assert [(row.name, row.how) for row in found.layers] == [
        ("0 + 1 + 2", "exact"), ("3", "slope"), ("4", "exact"), ("0 + 1 + 2, 4", "ellipsoids"),
    ]  # fmt: skip
    assert found.value == found.layers[-1].total < found.layers[2].total
    for row, before in zip(found.layers[1:3], found.layers, strict=False):
        assert row.total == pytest.approx(row.value * before.total)
    assert (found.kind, found.norm, found.sound) == ("spectral", "L2", True)


def test_batch_norm_counts_together_with_its_layer(monkeypatch):
    net = randomised(nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5)))
    apart = norm_from("L2", net[0].weight.detach().double())
    apart *= (net[1].weight / (net[1].running_var + net[1].eps).sqrt()).abs().max().item()
    for entries in (1 << 24, 0):
        monkeypatch.setattr(_operator_norm, "_DENSE_ENTRIES", entries)
        assert lipschitz_constant(net, (5,)).value < 0.99 * apart


def test_given():
    found = lipschitz_constant(small(), (1, 2, 2), kind="given", value=3, norm="inf")
    assert found == LipschitzBound(3.0, "given", "Linf", sound=True)


@pytest.mark.parametrize("norm", NORMS)
def test_empirical(norm):
    net, points = small().double(), torch.randn(5, 1, 2, 2)
    found = lipschitz_constant(net, (1, 2, 2), head="4", kind="empirical", points=points, norm=norm)
    exact = max(norm_from(norm, jacobian(net[:4], x)) for x in points)
    assert found.value == pytest.approx(exact, rel=1e-4)
    assert not found.sound
    assert found.value <= lipschitz_constant(net, (1, 2, 2), head="4", norm=norm).value
    whole = lipschitz_constant(net, (1, 2, 2), kind="empirical", points=points.numpy(), norm=norm)
    assert whole.value == pytest.approx(max(norm_from(norm, jacobian(net, x)) for x in points), rel=1e-4)


def test_parametrised_weights():
    net = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6), n_power_iterations=5), nn.ReLU()
    ).eval()
    exact = norm_from("L2", net[0].weight.detach().double())
    assert exact <= lipschitz_constant(net, (6,)).value <= exact * (1 + 1e-6)


@pytest.mark.parametrize("kind", ["spectral", "empirical"])
def test_the_net_is_left_as_it_was(kind):
    net = small()
    watch = net[3].register_forward_hook(lambda *_: None)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    points = torch.rand(2, 1, 2, 2) if kind == "empirical" else None
    with torch.inference_mode():
        lipschitz_constant(net, (1, 2, 2), head="4", kind=kind, points=points)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m.training for m in net.modules())
    assert not net[4]._forward_pre_hooks
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    watch.remove()


def test_radius_in_input_rounds_down():
    radius = torch.tensor([0.0, 0.1, 1 / 3, 1e-300, math.pi, math.inf], dtype=torch.float64)
    bound = LipschitzBound(2.7, "given", "L2", sound=True)
    found = radius_in_input(radius, bound)
    for t, r in zip(radius[:5].tolist(), found[:5].tolist(), strict=True):
        assert Fraction(r) * Fraction(2.7) <= Fraction(t)
        assert r == pytest.approx(t / 2.7, rel=1e-15)
    assert found[0] == 0
    assert found[5] == math.inf
    none = LipschitzBound(0.0, "spectral", "L2", sound=True)
    assert torch.equal(radius_in_input(radius[:2], none), torch.tensor([0.0, math.inf], dtype=torch.float64))


# Bad input


def _inplace(net, x):
    y = net.a(x)
    view = y.flatten(1)
    F.relu(y, inplace=True)
    return view


def _no_statistics():
    return nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.BatchNorm2d(1, track_running_stats=False))


def _plain(function):
    return lambda: Net(lambda _, x: function(x))


NAN = torch.full((4, 4), math.nan)
UNSUPPORTED = {
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
        "'1' .LayerNorm.: it divides by a spread",
    ),
    "group norm": (lambda: nn.Sequential(nn.GroupNorm(2, 4)), "'0' .GroupNorm.: it divides by a spread"),
    "unknown layer": (lambda: nn.Sequential(nn.Softmax(1)), "'0' .Softmax.: it is of no known kind"),
    "no statistics": (_no_statistics, "'1' .BatchNorm2d.: it keeps no running statistics"),
    "product": (
        _plain(lambda x: x * x.sigmoid()),
        "'mul' .mul.: several of its arguments depend on the input",
    ),
    "square": (_plain(lambda x: x * x), "'mul' .mul.: several of its arguments depend on the input"),
    "rounded": (
        _plain(lambda x: torch.div(x, 2, rounding_mode="floor")),
        "'div' .div.: it is called with more",
    ),
    "keywords": (
        _plain(lambda x: torch.add(input=x, other=x)),
        "'add' .add.: it is called in a way that is not",
    ),
    "its own limits": (_plain(lambda x: torch.clamp(x, min=x)), "'clamp' .clamp.: several of its arguments"),
    "indices": (
        lambda: Net(lambda net, x: net.a(x)[1], a=nn.MaxPool1d(2, return_indices=True)),
        "its result is no tensor of real",
    ),
    "division": (_plain(lambda x: 1 / x), "'truediv' .truediv.: it divides by something"),
    "function": (_plain(torch.exp), "'exp' .exp.: it is a function of no known kind"),
    "method": (_plain(lambda x: x.softmax(1)), "'softmax' .softmax.: it is a function of no known kind"),
    "alpha": (_plain(lambda x: torch.add(x, x, alpha=3)), "'add' .add.: its alpha is not 1"),
    "matrix": (
        lambda: Net(lambda net, x: net.w @ x, w=torch.ones(2, 1)),
        "'matmul' .matmul.: an argument other",
    ),
    "attribute": (_plain(lambda x: x.mT), "'getattr_1' .getattr.: it is a function of no known kind"),
    "whole numbers": (_plain(lambda x: x.to(torch.int64) * 1.0), "its result is no tensor of real numbers"),
    "dropout": (_plain(lambda x: F.dropout(x, 0.5)), "'dropout' .dropout.: it is called with training=True"),
    "control flow": (_plain(lambda x: x if x.sum() > 0 else -x), "torch.fx cannot follow Net: "),
    "two outputs": (_plain(lambda x: (x, x + 1)), "the net's output 'output': the net returns more than one"),
    "two inputs": (lambda: Two(), "the net's input 'y': the net takes more than one input"),
    "written in place": (
        lambda: Net(_inplace, a=nn.Linear(4, 4)),
        "'relu' .relu.: it overwrites a tensor that",
    ),
    "nan": (lambda: Net(lambda net, x: F.linear(x, net.w), w=NAN), "it has NaN or infinite weights"),
    "jump": (lambda: nn.Threshold(0.1, 20), "Threshold.: it jumps"),
}


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize(("build", "words"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_is_not_known_is_named(build, words):
    with pytest.raises(_errors.UnsupportedLayerError, match=words) as caught:
        lipschitz_constant(build().eval(), (4,))
    assert 'kind="given"' in str(caught.value)


def test_a_subclass_with_its_own_forward_is_unknown_and_a_hook_that_changes_things_too():
    class Mine(nn.ReLU):
        __module__ = "torch.nn.mine"

        def forward(self, x):
            return x * 100

    with pytest.raises(_errors.UnsupportedLayerError, match=r"\'0\' .Mine.: it is of no known kind"):
        lipschitz_constant(nn.Sequential(Mine()).eval(), (3,))
    net = nn.Sequential(nn.Identity(), nn.ReLU()).eval()
    net[1].register_forward_hook(lambda module, args, output: output * 10)
    with pytest.raises(_errors.UnsupportedLayerError, match=r"\'1\' .ReLU.: a hook changes what it computes"):
        lipschitz_constant(net, (3,))


def test_in_place_layers_are_fine_where_nothing_else_reads_them():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).eval()
    plain = nn.Sequential(net[0], nn.ReLU(), net[2]).eval()
    assert lipschitz_constant(net, (4,)).value == lipschitz_constant(plain, (4,)).value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm": "L0"}, "no net has a Lipschitz constant in L0"),
        ({"norm": "L3"}, "unknown norm 'L3'"),
        ({"kind": "spectal"}, "unknown kind of Lipschitz constant 'spectal': did you mean 'spectral'"),
        ({"kind": "given"}, r"`value` is for kind=\"given\" and needed there; the kind is 'given'"),
        (
            {"kind": "given", "value": 0.0},
            "`value` must be greater than 0 .feature units per input unit., got 0",
        ),
        ({"kind": "given", "value": -2}, "`value` must be greater than 0"),
        ({"kind": "given", "value": math.nan}, "`value` must be finite"),
        ({"value": 2.0}, r"`value` is for kind=\"given\".* the kind is 'spectral'"),
        ({"kind": "empirical"}, '`points` is for kind="empirical"'),
        (
            {"kind": "empirical", "points": torch.ones(2, 3)},
            r"`points` must have shape \(n, 1, 2, 2\), got \(2, 3\)",
        ),
        ({"kind": "empirical", "points": torch.ones(2, 1, 2, 2), "head": "linear"}, "unknown head 'linear'"),
        ({"head": "5"}, "unknown head '5': did you mean"),
        ({"input_shape": (3,)}, "'1' .Linear. fails in a pass of one sample; check `input_shape`: .*mat1"),
    ],
)
def test_bad_arguments(change, words):
    arguments = {"module": small(), "input_shape": (1, 2, 2)} | change
    with pytest.raises(_errors.InputError, match=words):
        lipschitz_constant(**arguments)


@pytest.mark.parametrize("part", [None, 2])
def test_training_mode(part):
    net = small()
    (net if part is None else net[part]).train()
    with pytest.raises(_errors.InputError, match=r"Sequential is in training mode.*eval"):
        lipschitz_constant(net, (1, 2, 2))


def test_linear_maps_are_what_they_say():
    found = layer("a", nn.AvgPool2d(2), (1, 1, 4, 4))
    assert isinstance(found, LinearMap)
    assert found.norm() == pytest.approx(0.5)
