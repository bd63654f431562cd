import pytest
import torch
from lipschitz_cases import conv, norm_from, randomised, seen
from sampling import slow
from torch import nn

from art_flat.functional import lipschitz_constant
from art_flat.functional._layers import LinearMap, layer
from art_flat.functional._operator_norm import infinity_norm, spectral_norm


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
def test_linear_layers_are_exact(build, shape):
    net = randomised(build())
    found = lipschitz_constant(net, shape)
    exact = seen(net, shape, n=1)
    assert exact <= found.value <= exact * (1 + 1e-6)
    assert found.sound


@each_linear
def test_bounds_for_layers_too_large_to_decompose(build, shape):
    net = randomised(build())
    exact = seen(net, shape, n=1)
    assert exact <= lipschitz_constant(net, shape, max_matrix_entries=0).value <= 5 * exact


@pytest.mark.parametrize(
    ("stride", "dilation", "groups"), [slow((1, 1, 1)), (2, 1, 1), slow((1, 2, 2)), (3, 2, 1)]
)
def test_the_torus_is_nearly_exact_for_large_images(stride, dilation, groups):
    net = conv(2, 4, 3, stride, dilation, dilation, groups=groups).eval()
    exact = seen(net, (2, 24, 24), n=1)
    assert exact <= lipschitz_constant(net, (2, 24, 24), max_matrix_entries=0).value <= 1.05 * exact


def test_large_matrices_are_bounded_by_cholesky():
    strided = conv(2, 3, 3, stride=2, padding=1), (2, 15, 15)
    for net, shape in ((nn.Linear(170, 190), (170,)), strided):
        net.eval()
        exact = seen(net, shape, n=1)
        assert exact <= lipschitz_constant(net, shape).value <= exact * (1 + 1e-4)
    tied = nn.Linear(170, 170).eval()
    nn.init.orthogonal_(tied.weight)
    assert 1 - 1e-6 <= lipschitz_constant(tied, (170,)).value <= 1 + 1e-6


def test_large_matrices_of_frequencies_are_bounded_by_cholesky():
    net = conv(164, 170, (1, 2)).eval()
    exact = seen(net, (164, 1, 3), n=1)
    assert exact <= lipschitz_constant(net, (164, 1, 3), max_matrix_entries=0).value <= 1.5 * exact
    nn.init.zeros_(net.weight)
    assert lipschitz_constant(net, (164, 1, 3), max_matrix_entries=0).value == 0.0


def test_many_nearly_equal_singular_values():
    left, right = (torch.linalg.qr(torch.randn(170, 170, dtype=torch.float64)).Q for _ in range(2))
    matrix = left @ torch.linspace(0.98, 1.0, 170, dtype=torch.float64).diag() @ right
    assert 1.0 <= spectral_norm(matrix) <= 1.01


def test_the_torus_sees_the_highest_frequency():
    net = conv(1, 1, (1, 2), bias=False).eval()
    net.weight.data = torch.tensor([[[[1.0, -1.0]]]])
    exact = seen(net, (1, 3, 7), n=1)
    assert exact <= lipschitz_constant(net, (1, 3, 7), max_matrix_entries=0).value == pytest.approx(2.0)


def test_infinity_norm_is_near_the_exact_one():
    for seed in range(5):
        torch.manual_seed(seed)
        matrix = torch.randn(4, 9, dtype=torch.float64) * torch.rand(9, dtype=torch.float64)
        matrix[:, seed] = 0.0
        exact = norm_from("Linf", matrix)
        bound = infinity_norm(matrix)
        assert exact <= bound <= min(1.1 * exact, 3.0 * norm_from("L2", matrix))
    assert infinity_norm(torch.zeros(2, 3, dtype=torch.float64)) == 0.0


def test_linear_maps_are_what_they_say():
    found = layer("a", nn.AvgPool2d(2), (1, 1, 4, 4))
    assert isinstance(found, LinearMap)
    assert found.norm() == pytest.approx(0.5)
