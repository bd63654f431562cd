"""Networks: layers, sizes, features and initial weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from sampling import slow
from tolerances import close
from torch import nn

from art_flat import models
from art_flat.errors import InputError


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[name]) for name, v in a.state_dict().items())


SMALL = {
    "fcn": (models.fcn, (1, 28, 28), 64),
    "mnist_cnn": (models.mnist_cnn, (1, 28, 28), 128),
    "mnist_cnn on colour": (lambda **o: models.mnist_cnn((3, 32, 32), **o), (3, 32, 32), 128),
    "mnist_cnn on digits": (lambda **o: models.mnist_cnn((1, 8, 8), **o), (1, 8, 8), 128),
    "digits_cnn": (models.digits_cnn, (1, 8, 8), 64),
}

CIFAR = {
    "resnet18": (models.resnet18, 512),
    "wide_resnet28_4": (models.wide_resnet28_4, 256),
    "densenet121": (models.densenet121, 1024),
    "vgg11_bn": (models.vgg11_bn, 512),
}


def features_and_logits(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, nn.Linear]:
    """Input and output of the last linear layer, and that layer."""
    calls = []
    for part in model.modules():
        if isinstance(part, nn.Linear):
            part.register_forward_hook(lambda layer, inputs, output: calls.append((layer, inputs[0], output)))
    with torch.no_grad():
        model.eval()(x)
    return calls[-1][1], calls[-1][2], calls[-1][0]


def nb_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("case", SMALL)
def test_small_networks(case: str) -> None:
    make, shape, d = SMALL[case]
    for k in (10, 3):
        net = make(nb_classes=k)
        x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
        features, logits, head = features_and_logits(net, x)
        assert features.shape == (2, d)
        assert logits.shape == (2, k)
        assert torch.equal(net(x), nn.functional.linear(features, head.weight, head.bias))
        assert float((logits[0] - logits[1]).abs().max()) > 0


def test_fcn_has_the_layers_asked_for() -> None:
    sizes = [
        (p.in_features, p.out_features)
        for p in models.fcn(5, (7, 6, 4), 3).modules()
        if isinstance(p, nn.Linear)
    ]
    assert sizes == [(5, 7), (7, 6), (6, 4), (4, 3)]
    with pytest.raises(InputError, match="`hidden` is empty"):
        models.fcn(hidden=())


@pytest.mark.parametrize("shape", [(784,), (1, 2, 28)])
def test_mnist_cnn_needs_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"needs images of shape \(channels, height, width\) .*use fcn\(\)"):
        models.mnist_cnn(shape)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_networks(name: str) -> None:
    make, d = CIFAR[name]
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    full = make(nb_classes=7)
    features, logits, _ = features_and_logits(full, x)
    assert features.shape == (2, d)
    assert logits.shape == (2, 7)
    stem = next(p for p in full.modules() if isinstance(p, nn.Conv2d))
    assert (stem.kernel_size, stem.stride) == ((3, 3), (1, 1))
    narrow = make(width=0.25)
    features, logits, _ = features_and_logits(narrow, x)
    assert features.shape[1] == pytest.approx(d / 4, rel=0.02)
    assert logits.shape == (2, 10)
    assert torch.isfinite(logits).all()
    assert nb_parameters(narrow) < nb_parameters(full) / 10


def test_numbers_of_parameters() -> None:
    # counts of the usual CIFAR-10 forms, as published with them
    assert nb_parameters(models.resnet18()) == 11_173_962
    assert nb_parameters(models.vgg11_bn()) == 9_231_114
    assert nb_parameters(models.wide_resnet28_4(width=2.5)) == 36_479_194  # WideResNet-28-10
    assert nb_parameters(models.densenet121()) == 6_956_298 + 2 * 64  # and torchvision's norm after the stem


def test_resnet18_is_torchvisions_but_for_the_stem() -> None:
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    ours = models.resnet18().eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs.eval()(x), **close("net"))


@pytest.mark.parametrize("width", [0, -1.0, float("nan"), "wide"])
def test_width_must_be_positive(width: object) -> None:
    with pytest.raises(InputError, match="`width`"):
        models.resnet18(width=width)


MAKERS = {**{k: v[0] for k, v in SMALL.items()}, **{k: v[0] for k, v in CIFAR.items()}}


@pytest.mark.parametrize("name", [slow(n) if n == "densenet121" else n for n in MAKERS])
def test_initial_weights_follow_their_seed_only(name: str) -> None:
    make: Callable[..., nn.Module] = MAKERS[name]
    narrow = {"width": 0.1} if name in CIFAR else {}
    before = torch.get_rng_state()
    first, again, other = make(**narrow), make(seed=0, **narrow), make(seed=1, **narrow)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    assert not same(first, other)
