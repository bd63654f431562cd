import math

import pytest
import torch
from lipschitz_cases import NORMS, Net, conv, randomised, seen
from torch import nn
from torch.nn import functional as F

from art_flat.functional import lipschitz_constant


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


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
def test_no_jacobian_exceeds_the_constant(build, shape, norm):
    net = randomised(build())
    constant = lipschitz_constant(net, shape, norm=norm).value
    if norm != "Linf" or math.prod(shape) <= 10:
        largest = seen(net, shape, norm=norm)
        assert largest <= constant
        assert constant <= 1000 * largest
    generator = torch.Generator().manual_seed(2)
    x, step = (torch.randn(200, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    if norm == "Linf":
        step = step.sign()
    with torch.no_grad():
        moved = (net.double()(x + step) - net.double()(x)).flatten(1).norm(dim=1)
    length = torch.linalg.vector_norm(step.flatten(1), ord={"L2": 2, "Linf": math.inf, "L1": 1}[norm], dim=1)
    assert (moved <= constant * length).all()


def test_images_without_an_axis_of_channels():
    net = nn.Sequential(conv(1, 2, 3), nn.MaxPool2d(3, 1)).eval()
    image, channel = (lipschitz_constant(net, shape) for shape in ((6, 6), (1, 6, 6)))
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


def test_steep_slopes_count():
    net = nn.Sequential(nn.Linear(1, 1), nn.SELU(), nn.Linear(1, 1), nn.LeakyReLU(3.0)).eval()
    for item in (net[0], net[2]):
        nn.init.constant_(item.weight, 2.0)
    for part, exact in ((net[:2], 2 * 1.7581), (net, 2 * 1.7581 * 2 * 3)):
        found = lipschitz_constant(part, (1,))
        assert found.value == pytest.approx(exact, rel=1e-3)
