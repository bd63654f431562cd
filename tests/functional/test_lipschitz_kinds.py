import math
from fractions import Fraction

import pytest
import torch
from lipschitz_cases import NORMS, Net, jacobian, norm_from, seen, small
from torch import nn
from torch.nn import functional as F

from art_flat.errors import InputError
from art_flat.functional import LipschitzBound, constant_in_norm, lipschitz_constant, radius_in_input


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# Head, kinds, table


def test_head_and_feature_extractor_are_the_same():
    net = small()
    full, features = lipschitz_constant(net, (1, 2, 2), head="4"), lipschitz_constant(net[:4], (1, 2, 2))
    assert full == features
    assert seen(net[1:3], (4,), n=1) <= full.value == full.layers[0].value * full.layers[1].value
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
        ("1", "exact"), ("2", "exact"), ("3", "slope"), ("4", "exact"),
    ]  # fmt: skip
    assert found.value == found.layers[-1].total
    for row, before in zip(found.layers[1:], found.layers, strict=False):
        assert row.total == pytest.approx(row.value * before.total)
    assert (found.kind, found.norm, found.sound) == ("spectral", "L2", True)


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


# Another norm


@pytest.mark.parametrize("value", [1.0, 3.0, 0.1, 1 / 3, 1e-200, 1e200])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 784, 150_528])
def test_a_constant_for_linf_is_never_rounded_below_the_exact_one(value, size):
    found = Fraction(constant_in_norm(value, "Linf", size))
    exact = Fraction(value) ** 2 * size
    assert found**2 >= exact
    assert (found * Fraction(1 - 2**-51)) ** 2 < exact
    assert constant_in_norm(value, "L2", size) == constant_in_norm(value, "L1", size) == value
    if value == 1:
        assert lipschitz_constant(nn.Identity().eval(), (size,), norm="Linf").value == float(found)


def test_no_radius_from_an_estimate_or_from_no_constant():
    t = torch.ones(2)
    with pytest.raises(InputError, match="the empirical Lipschitz constant 2 is an estimate from below"):
        radius_in_input(t, LipschitzBound(2.0, "empirical", "L2", sound=False))
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="`lipschitz` must be"):
            radius_in_input(t, LipschitzBound(value, "given", "L2", sound=True))
