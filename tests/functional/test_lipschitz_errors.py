import math

import pytest
import torch
from lipschitz_cases import Net, small
from torch import nn
from torch.nn import functional as F

from art_flat import errors
from art_flat.functional import lipschitz_constant


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


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
    "unknown layer": (lambda: nn.Sequential(nn.Softmax(1)), "'0' .Softmax.: the layer is not supported"),
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
        "its result is not a tensor of real",
    ),
    "division": (_plain(lambda x: 1 / x), "'truediv' .truediv.: it divides by something"),
    "function": (_plain(torch.exp), "'exp' .exp.: the function is not supported"),
    "method": (_plain(lambda x: x.softmax(1)), "'softmax' .softmax.: the function is not supported"),
    "alpha": (_plain(lambda x: torch.add(x, x, alpha=3)), "'add' .add.: its alpha is not 1"),
    "matrix": (
        lambda: Net(lambda net, x: net.w @ x, w=torch.ones(2, 1)),
        "'matmul' .matmul.: an argument other",
    ),
    "attribute": (_plain(lambda x: x.mT), "'getattr_1' .getattr.: the function is not supported"),
    "whole numbers": (
        _plain(lambda x: x.to(torch.int64) * 1.0),
        "its result is not a tensor of real numbers",
    ),
    "dropout": (_plain(lambda x: F.dropout(x, 0.5)), "'dropout' .dropout.: it is called with training=True"),
    "control flow": (_plain(lambda x: x if x.sum() > 0 else -x), "torch.fx cannot follow Net: "),
    "two outputs": (_plain(lambda x: (x, x + 1)), "the net's output 'output': the net returns more than one"),
    "two inputs": (lambda: Two(), "the net's input 'y': the net takes more than one input"),
    "written in place": (
        lambda: Net(_inplace, a=nn.Linear(4, 4)),
        "'relu' .relu.: it overwrites a tensor that",
    ),
    "nan": (lambda: Net(lambda net, x: F.linear(x, net.w), w=NAN), "it has NaN or infinite weights"),
    "jump": (lambda: nn.Threshold(0.1, 20), "Threshold.: it is discontinuous"),
}


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize(("build", "words"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_is_not_known_is_named(build, words):
    with pytest.raises(errors.UnsupportedLayerError, match=words) as caught:
        lipschitz_constant(build().eval(), (4,))
    assert 'kind="given"' in str(caught.value)


def test_a_subclass_with_its_own_forward_is_unknown_and_a_hook_that_changes_things_too():
    class Mine(nn.ReLU):
        __module__ = "torch.nn.mine"

        def forward(self, x):
            return x * 100

    with pytest.raises(errors.UnsupportedLayerError, match=r"\'0\' .Mine.: the layer is not supported"):
        lipschitz_constant(nn.Sequential(Mine()).eval(), (3,))
    net = nn.Sequential(nn.Identity(), nn.ReLU()).eval()
    net[1].register_forward_hook(lambda module, args, output: output * 10)
    with pytest.raises(errors.UnsupportedLayerError, match=r"\'1\' .ReLU.: a hook changes what it computes"):
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
    with pytest.raises(errors.InputError, match=words):
        lipschitz_constant(**arguments)


@pytest.mark.parametrize("part", [None, 2])
def test_training_mode(part):
    net = small()
    (net if part is None else net[part]).train()
    with pytest.raises(errors.InputError, match=r"Sequential is in training mode.*eval"):
        lipschitz_constant(net, (1, 2, 2))
