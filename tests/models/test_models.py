"""Networks, their weights in files, and the way from an import string to an ART classifier."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from sampling import slow
from tolerances import close
from torch import nn

from art_flat import models
from art_flat.errors import ConfigError, InputError, UnknownNameError
from art_flat.models import as_classifier, build, load_weights, save_weights

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


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine, the threads of small networks spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[name]) for name, v in a.state_dict().items())


# builders


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


# weights


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_round_trip(tmp_path: Path, suffix: str) -> None:
    net, other = models.resnet18(width=0.1), models.resnet18(width=0.1, seed=1)
    net.bn1.running_mean.fill_(0.5)
    path = tmp_path / "new" / f"weights{suffix}"
    if suffix == ".safetensors":
        assert save_weights(net, path) == path
    else:
        path.parent.mkdir()
        torch.save({"state_dict": net.state_dict()} if suffix == ".pt" else net.state_dict(), path)
    assert load_weights(other, str(path)) is other
    assert same(net, other)


def test_shared_and_transposed_weights_are_saved(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    net[0].bias = nn.Parameter(torch.arange(8.0)[::2])
    other = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    load_weights(other, save_weights(net, tmp_path / "w.safetensors"))
    assert same(net, other)
    assert net[1].weight is net[0].weight


def test_half_precision_without_counters_of_batch_norm(tmp_path: Path) -> None:
    net, other = models.resnet18(width=0.1), models.resnet18(width=0.1, seed=1)
    net.bn1.running_mean.fill_(0.5)
    net.bn1.num_batches_tracked.fill_(7)
    other.bn1.num_batches_tracked.fill_(3)
    path = save_weights(net, tmp_path / "w.safetensors", dtype=torch.float16)
    load_weights(other, path)
    assert not [name for name in safetensors.torch.load_file(path) if "num_batches" in name]
    assert torch.equal(other.conv1.weight, net.conv1.weight.half().float())
    assert torch.equal(other.bn1.running_mean, net.bn1.running_mean)
    assert other.bn1.num_batches_tracked == 3


def test_weights_are_saved_as_safetensors_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 'w\.pt'; end the name in \.safetensors"):
        save_weights(models.digits_cnn(), tmp_path / "w.pt")


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = save_weights(models.digits_cnn(), tmp_path / "w.safetensors")
    net = models.fcn(64, (64,))
    before = {name: v.clone() for name, v in net.state_dict().items()}
    words = (
        r"not those of this Sequential: 2 missing in the file: features\.1\.weight \(64, 64\), "
        r"features\.1\.bias \(64,\); "
        r"6 unknown to the model: features\.0\.bias \(16,\), .* and 2 more\. Build the model with the options"
    )
    with pytest.raises(InputError, match=words):
        load_weights(net, path)
    with pytest.raises(
        InputError, match=r"2 of another shape: .*head\.weight \(10, 64\) instead of \(3, 64\)"
    ):
        load_weights(models.digits_cnn(nb_classes=3), path)
    assert all(torch.equal(v, before[name]) for name, v in net.state_dict().items())


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the pickle was run",))


@pytest.mark.parametrize("name", ["w.pkl", "w.pickle", "w.bin", "w"])
def test_other_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(_Harmful()))
    with pytest.raises(
        InputError, match=r"can run any code when opened; save the weights with .*save_weights"
    ):
        load_weights(models.digits_cnn(), tmp_path / name)


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    net = models.digits_cnn()
    with pytest.raises(InputError, match=r"no weights file .*gone\.pt; check `weights`"):
        load_weights(net, tmp_path / "gone.pt")
    torch.save(net, tmp_path / "whole.pt")
    (tmp_path / "harmful.pt").write_bytes(pickle.dumps(_Harmful()))
    (tmp_path / "cut.safetensors").write_bytes(
        save_weights(net, tmp_path / "w.safetensors").read_bytes()[:500]
    )
    (tmp_path / "empty.pth").write_bytes(b"")
    for name, reason in (
        (
            "whole.pt",
            r"it holds more than tensors, such as [\w.]*Sequential, and can run any code when opened",
        ),
        ("harmful.pt", "holds more than tensors.* and can run any code when opened"),
        ("cut.safetensors", r"the file is damaged \(SafetensorError: "),
        ("empty.pth", r"the file is damaged \(EOFError: "),
    ):
        with pytest.raises(InputError, match=rf"cannot read the weights in .*{name}: .*{reason}"):
            load_weights(net, tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"list\.pt holds no state dict"):
        load_weights(net, tmp_path / "list.pt")


# to ART


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


# import strings

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
