import math

import pytest
import torch
from lipschitz_cases import jacobian, norm_from
from torch import nn

from art_flat.functional import lipschitz_constant


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


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
    found = lipschitz_constant(module, (1,)).value
    assert found * (1 - 1e-3) <= slope.abs().max() <= found * (1 + 1e-12)


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
