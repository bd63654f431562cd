"""The way from a network, or an import string, to an ART classifier."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerances import close
from torch import nn

from art_flat import models
from art_flat.errors import ConfigError, InputError, UnknownNameError
from art_flat.models import as_classifier, build, save_weights


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[name]) for name, v in a.state_dict().items())


@pytest.mark.parametrize("preprocessing", [None, ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]), (0.5, 2.0)])
def test_as_classifier_is_the_network(preprocessing: object) -> None:
    net = models.mnist_cnn((3, 8, 8))
    net.train()
    classifier = as_classifier(
        net, input_shape=(3, 8, 8), nb_classes=10, clip_values=(0.0, 2.0), preprocessing=preprocessing
    )
    assert net.training
    assert net.head.training
    x = np.random.default_rng(0).uniform(0, 2, size=(5, 3, 8, 8)).astype("float32")
    mean, std = (np.float32(part) for part in (preprocessing or (0, 1)))
    standard = (x - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    with torch.no_grad():
        expected = net(torch.from_numpy(standard)).numpy()
    assert np.allclose(classifier.predict(x), expected, **close("net"))
    assert tuple(classifier.clip_values) == (0.0, 2.0)
    assert (classifier.nb_classes, classifier.input_shape) == (10, (3, 8, 8))
    gradient = classifier.loss_gradient(x, np.eye(10)[:5])
    inputs = torch.from_numpy(x).requires_grad_()
    scaled = (inputs - torch.as_tensor(mean).reshape(-1, 1, 1)) / torch.as_tensor(std).reshape(-1, 1, 1)
    nn.functional.cross_entropy(net(scaled), torch.arange(5), reduction="sum").backward()
    assert np.allclose(
        gradient / np.abs(gradient).max(), inputs.grad / inputs.grad.abs().max(), **close("gradient")
    )


class _Tuple(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (
            models.digits_cnn(nb_classes=3),
            r"outputs of shape \(1, 3\), the data has 10 classes.*with 10 outputs",
        ),
        (models.resnet18(width=0.1), r"_ResNet cannot take inputs of shape \(1, 1, 8, 8\): RuntimeError"),
        (_Tuple(), r"_Tuple returns a builtins\.tuple; wrap it so that it returns the logits"),
    ],
)
def test_networks_that_do_not_fit(net: nn.Module, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_classifier(net, input_shape=(1, 8, 8), nb_classes=10)
    assert net.training


@pytest.mark.parametrize("device", ["meta", "abacus", "cuda:99"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(InputError, match=rf"ART cannot run on device '{device}' here; choose one of 'cpu'"):
        as_classifier(models.digits_cnn(), input_shape=(1, 8, 8), nb_classes=10, device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_build_goes_to_the_gpu() -> None:
    classifier = build("art_flat.models:digits_cnn", input_shape=(1, 8, 8), nb_classes=10)
    assert next(classifier.model.parameters()).is_cuda
    assert classifier.device.type == "cuda"


MODULE = """
from torch import nn
from art_flat.models import digits_cnn, as_classifier

READY = digits_cnn()
NUMBER = 3

def network(nb_classes, input_shape, flavour="plain"):
    net = nn.Sequential(nn.Flatten(), nn.Linear(input_shape[1] * input_shape[2], nb_classes))
    net.flavour = flavour
    return net

def classifier(**options):
    assert not options
    return as_classifier(digits_cnn(), input_shape=(1, 8, 8), nb_classes=10, clip_values=(0, 1))

def table():
    from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression
    from sklearn.linear_model import LogisticRegression
    return ScikitlearnLogisticRegression(LogisticRegression())

def broken(nb_classes):
    raise KeyError("the oven is cold")

def nothing():
    pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bakery.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "bakery", raising=False)
    return tmp_path


DIGITS = {"input_shape": (1, 8, 8), "nb_classes": 10}


@pytest.mark.parametrize("name", ["fcn", "mnist_cnn", "digits_cnn"])
def test_build_from_our_own(name: str, tmp_path: Path) -> None:
    make = {"fcn": lambda **o: models.fcn(64, **o), "mnist_cnn": lambda **o: models.mnist_cnn((1, 8, 8), **o)}
    expected = make.get(name, models.digits_cnn)(seed=5)
    weights = save_weights(expected, tmp_path / "w.safetensors")
    before = torch.get_rng_state()
    plain = build(f"art_flat.models:{name}", **DIGITS)
    classifier = build(f"art_flat.models:{name}", weights=weights, **DIGITS)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(expected, classifier.model)
    assert not same(expected, plain.model)
    assert same(expected, build(f"art_flat.models:{name}", seed=5, **DIGITS).model)
    x = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
    with torch.no_grad():
        assert np.allclose(classifier.predict(x), expected.eval()(torch.from_numpy(x)), **close("net"))


def test_build_with_options() -> None:
    data = {"input_shape": (3, 32, 32), "nb_classes": 4}
    classifier = build("art_flat.models:resnet18", options={"width": 0.125}, **data)
    assert classifier.model.fc.weight.shape == (4, 64)
    with pytest.raises(UnknownNameError, match=r"unknown option of factory .*'widht': did you mean 'width'"):
        build("art_flat.models:resnet18", options={"widht": 0.125}, **data)


def test_build_from_torchvision() -> None:
    data = {"input_shape": (3, 32, 32), "nb_classes": 10}
    name = "torchvision.models:mobilenet_v3_small"
    assert build(name, options={"num_classes": 10}, **data).model.classifier[-1].out_features == 10
    with pytest.raises(InputError, match=r"outputs of shape \(1, 1000\), the data has 10 classes"):
        build(name, **data)


def test_build_from_a_users_module(folder: Path, tmp_path: Path) -> None:
    path = list(sys.path)
    before = torch.get_rng_state()
    network = build("bakery:network", search_path=folder, options={"flavour": "rye"}, **DIGITS)
    assert network.model[1].weight.shape == (10, 64)
    assert network.model.flavour == "rye"
    assert torch.equal(
        network.model[1].weight, build("bakery:network", search_path=folder, **DIGITS).model[1].weight
    )
    assert not torch.equal(
        network.model[1].weight, build("bakery:network", search_path=folder, seed=1, **DIGITS).model[1].weight
    )
    weights = save_weights(models.digits_cnn(seed=3), tmp_path / "w.safetensors")
    made = build("bakery:classifier", search_path=folder, weights=weights, **DIGITS)
    assert same(made.model, models.digits_cnn(seed=3))
    assert same(build("bakery:READY", search_path=folder, **DIGITS).model, models.digits_cnn())
    table = build("bakery:table", search_path=folder, **DIGITS)
    assert not hasattr(table.model, "parameters")
    with pytest.raises(ConfigError, match=r"has no torch network to load .*drop `weights`"):
        build("bakery:table", search_path=folder, weights=weights, **DIGITS)
    assert torch.equal(torch.get_rng_state(), before)
    assert sys.path == path


BAD = {
    "art_flat.models.mnist_cnn": r"must read '.*:function'; did you mean 'art_flat\.models:mnist_cnn'\?",
    "mnist_cnn": r"factory 'mnist_cnn' must read 'package\.module:function'$",
    ":make": r"must read 'package\.module:function'$",
    "art_flat.models:": r"must read 'package\.module:function'; did you mean 'art_flat:models'\?",
    "no_such_bakery:make": r"importing 'no_such_bakery' raised ModuleNotFoundError.*Install the package",
    "art_flat.models:minst_cnn": r"unknown factory in 'art_flat\.models' 'minst_cnn': .* 'mnist_cnn'",
    "bakery:netwrok": r"unknown factory in 'bakery' 'netwrok': did you mean 'network'",
    "bakery:NUMBER": r"factory 'bakery:NUMBER' is a builtins\.int; it must be a function",
    "bakery:broken": r"'bakery:broken', called with \(nb_classes=10\), raised KeyError: 'the oven is cold'",
    "bakery:nothing": r"'bakery:nothing' returned None; it must return an ART classifier or an nn\.Module",
    "stale:make": r"importing 'stale' raised SyntaxError",
}


@pytest.mark.parametrize("factory", BAD)
def test_factories_that_cannot_be_used(folder: Path, factory: str) -> None:
    (folder / "stale.py").write_text("def make(:")
    path = list(sys.path)
    before = torch.get_rng_state()
    with pytest.raises((ConfigError, UnknownNameError), match=BAD[factory]):
        build(factory, search_path=folder, **DIGITS)
    assert sys.path == path
    assert torch.equal(torch.get_rng_state(), before)
