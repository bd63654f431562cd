import numpy as np
import pytest
import torch
from lipschitz_cases import conv, randomised, seen
from sampling import slow
from torch import nn

from art_flat.functional import lipschitz_constant


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


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
def test_norms_of_linear_layers_are_upper_bounds(build, shape):
    net = randomised(build())
    found, exact = lipschitz_constant(net, shape), seen(net, shape, n=1)
    assert exact <= found.value <= 10 * exact
    if [row.how for row in found.layers] == ["exact"]:
        assert found.value <= exact * (1 + 1e-6)
    assert found.sound


@pytest.mark.parametrize("seed", range(20))
def test_norms_of_small_convolutions_are_upper_bounds(seed):
    rng = np.random.default_rng(seed)
    kernel, stride, dilation, padding = (rng.integers(1, most + 1, 2).tolist() for most in (3, 3, 2, 3))
    groups = int(rng.integers(1, 3))
    net = conv(2, 4, kernel, stride, padding, dilation, groups=groups, bias=False).eval()
    shape = (2, *rng.integers(5, 8, 2).tolist())
    exact = seen(net, shape, n=1)
    assert exact <= lipschitz_constant(net, shape).value <= 3 * exact


@pytest.mark.parametrize(
    ("stride", "dilation", "groups"), [slow((1, 1, 1)), (2, 1, 1), slow((1, 2, 2)), (3, 2, 1)]
)
def test_the_torus_is_nearly_exact_for_large_images(stride, dilation, groups):
    net = conv(2, 4, 3, stride, dilation, dilation, groups=groups).eval()
    exact = seen(net, (2, 24, 24), n=1)
    assert exact <= lipschitz_constant(net, (2, 24, 24)).value <= 1.05 * exact


def test_a_convolution_of_zeros():
    net = conv(3, 4, 3).eval()
    nn.init.zeros_(net.weight)
    assert lipschitz_constant(net, (3, 5, 5)).value == 0.0


@pytest.mark.parametrize("size", [170, 1])
def test_many_nearly_equal_singular_values(size):
    left, right = (torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q for _ in range(2))
    net = nn.Linear(size, size).double().eval()
    net.weight.data = left @ torch.linspace(0.98, 1.0, size, dtype=torch.float64).flip(0).diag() @ right
    exact = torch.linalg.svdvals(net.weight)[0].item()
    assert exact <= lipschitz_constant(net, (size,)).value <= exact * (1 + 1e-8)


def test_the_torus_sees_the_highest_frequency():
    net = conv(1, 1, (1, 2), bias=False).eval()
    net.weight.data = torch.tensor([[[[1.0, -1.0]]]])
    exact = seen(net, (1, 3, 7), n=1)
    assert exact <= lipschitz_constant(net, (1, 3, 7)).value == pytest.approx(2.0)
