"""Public nets: the architectures against a plain restatement, and their weights from files of every published form."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from public_nets import CIFAR, MNIST, NETS
from tolerances import close
from torch import nn
from torch.nn import functional as F

from art_flat import models
from art_flat.adapters import adapt
from art_flat.cli.config import read_config
from art_flat.cli.run import prepare
from art_flat.cli.train import read_train_config, train_from_config
from art_flat.datasets import load_dataset
from art_flat.errors import ConfigError, InputError
from art_flat.models import as_classifier, build, load_weights, save_weights

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
State = dict[str, torch.Tensor]


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net with statistics of batch norm that are not 0 and 1, so that a forgotten one shows."""
    draw = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if "running" in name or "bn" in name:
            value.copy_(torch.rand(value.shape, generator=draw) + 0.5)
    return net.eval()


# the architectures, restated on the state dict in float64 and without modules


def norm(x: torch.Tensor, w: State, name: str) -> torch.Tensor:
    mean, variance, scale, shift = (
        w[f"{name}.{part}"].reshape(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift


def shortcut_a(x: torch.Tensor, channels: int) -> torch.Tensor:
    """Every second pixel, in the middle of `channels` channels that are zero otherwise."""
    wide = torch.zeros(len(x), channels, x.shape[2] // 2, x.shape[3] // 2, dtype=x.dtype)
    first = (channels - x.shape[1]) // 2
    for i in range(x.shape[1]):
        wide[:, first + i] = x[:, i, 0::2, 0::2]
    return wide


def cifar_resnet(x: torch.Tensor, w: State) -> torch.Tensor:
    x = norm(F.conv2d(x, w["conv1.weight"], padding=1), w, "bn1").clamp(min=0)
    for block in dict.fromkeys(".".join(k.split(".")[:2]) for k in w if k.startswith("layer")):
        after, before = w[f"{block}.conv1.weight"].shape[:2]
        h = F.conv2d(x, w[f"{block}.conv1.weight"], stride=after // before, padding=1)
        h = F.conv2d(norm(h, w, f"{block}.bn1").clamp(min=0), w[f"{block}.conv2.weight"], padding=1)
        x = (norm(h, w, f"{block}.bn2") + (x if after == before else shortcut_a(x, after))).clamp(min=0)
    return x.flatten(2).mean(2) @ w["linear.weight"].T + w["linear.bias"]


def plain_resnet(x: torch.Tensor, w: State) -> torch.Tensor:
    x = F.conv2d(x, w["conv1.weight"], w["conv1.bias"], 2, 1).clamp(min=0)
    for block in dict.fromkeys(".".join(k.split(".")[:2]) for k in w if k.startswith("layer")):
        first, second, around = (f"{block}.{part}" for part in ("conv1", "conv2", "shortcut.0"))
        stride = 2 if f"{around}.weight" in w else 1
        h = F.conv2d(x, w[f"{first}.weight"], w[f"{first}.bias"], stride, 1).clamp(min=0)
        if stride == 2:
            x = F.conv2d(x, w[f"{around}.weight"], w[f"{around}.bias"], 2)
        x = (F.conv2d(h, w[f"{second}.weight"], w[f"{second}.bias"], 1, 1) + x).clamp(min=0)
    h = (x.flatten(1) @ w["linear1.weight"].T + w["linear1.bias"]).clamp(min=0)
    return h @ w["linear2.weight"].T + w["linear2.bias"]


def plain_chain(x: torch.Tensor, w: State, stride: int, padding: int) -> torch.Tensor:
    """Convolutions, then linear layers, ReLU between them all; max pooling after convolutions of stride 1."""
    names = list(dict.fromkeys(k.rpartition(".")[0] for k in w))
    for name in names:
        weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        if weight.ndim == 4:
            x = F.conv2d(x, weight, bias, stride, padding).clamp(min=0)
            x = F.max_pool2d(x, 2) if stride == 1 else x
        else:
            x = x.flatten(1) @ weight.T + bias
            x = x if name == names[-1] else x.clamp(min=0)
    return x


def reference(name: str) -> Callable[[torch.Tensor, State], torch.Tensor]:
    if name.startswith("resnet"):
        return cifar_resnet
    if "resnet" in name:
        return plain_resnet
    stride, padding = (1, 1) if "lenet" in name else (2, 0 if "conv_small" in name else 1)
    return lambda x, w: plain_chain(x, w, stride, padding)


@pytest.mark.parametrize("name", [n for n in NETS if n not in {"resnet32", "resnet44", "resnet56"}])
def test_architectures_against_a_plain_restatement(name: str) -> None:
    net = randomised(NETS[name].make())
    x = torch.rand(2, *NETS[name].shape, generator=torch.Generator().manual_seed(1))
    state = {key: value.double() for key, value in net.state_dict().items()}
    with torch.no_grad():
        expected, got = reference(name)(x.double(), state), net(x)
    assert float(expected.std()) > 1e-3
    assert torch.allclose(got.double(), expected, **close("gradient", scale=float(expected.abs().max())))


def test_numbers_of_layers_and_parameters() -> None:
    # as the paper's table 6 and the repository state them, in millions
    for depth, millions in ((20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)):
        net = getattr(models, f"cifar_resnet{depth}")()
        layers = [p for p in net.modules() if isinstance(p, (nn.Conv2d, nn.Linear))]
        assert len(layers) == depth
        assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == millions


def test_other_inputs_and_classes() -> None:
    assert models.cnn_a((2, 9, 4), 3)(torch.zeros(1, 2, 9, 4)).shape == (1, 3)
    assert models.conv_small((1, 10, 13), 3)(torch.zeros(1, 1, 10, 13)).shape == (1, 3)
    assert models.cifar_resnet20(100)(torch.zeros(2, 3, 8, 12)).shape == (2, 100)
    for make, shape, size in ((models.cnn_a, (1, 3, 28), "4×4"), (models.conv_small, (1, 9, 28), "10×10")):
        with pytest.raises(
            InputError, match=rf"needs images of .* at least {size} pixels, got .*use fcn\(\)"
        ):
            make(shape)


@pytest.mark.parametrize(
    "name", ["resnet20", "mnist_lenet5", "mnist_cnn_a_adversarial", "mnist_6x100", "cifar_resnet2b"]
)
def test_initial_weights_follow_their_seed_only(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (
        nn.utils.parameters_to_vector(NETS[name].make(seed=s).parameters()) for s in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# the forms that checkpoints are published in


def published_net() -> nn.Module:
    return randomised(models.cnn_a((1, 8, 8), seed=7))


def with_prefix(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


FORMS: dict[str, Callable[[State], object]] = {
    "plain.pt": lambda s: s,
    "data_parallel.th": lambda s: {"state_dict": with_prefix("module.", s), "best_prec1": 91.7, "epoch": 3},
    "list.model": lambda s: [s],
    "list_inside.pth": lambda s: {"state_dict": [s], "err": 0.1},
    "entry_model.pth.tar": lambda s: {"model": s, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "entry_net.ckpt": lambda s: {"net": s, "acc": 90, "args": ["--lr", "0.1"]},
    "compiled.pt": lambda s: with_prefix("_orig_mod.module.", s),
    "wrapped.pt": lambda s: {"model_state_dict": with_prefix("model.net.", s)},
    "nested.pt": lambda s: {"net": {"state_dict": s}},
    "beside_another.pt": lambda s: {"model": s, "net": models.digits_cnn().state_dict()},
    "double_precision.pt": lambda s: {name: value.double() for name, value in s.items()},
}


@pytest.mark.parametrize("form", [*FORMS, "legacy.th", "plain.safetensors", "module.safetensors"])
def test_published_forms(tmp_path: Path, form: str) -> None:
    published = published_net()
    state, path = published.state_dict(), tmp_path / form
    if form == "module.safetensors":
        save_weights(nn.DataParallel(published), path)
    elif form.endswith(".safetensors"):
        save_weights(published, path)
    elif form == "legacy.th":
        torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save(FORMS[form](state), path)
    net = models.cnn_a((1, 8, 8))
    assert load_weights(net, path) is net
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_a_model_with_the_prefix_itself_and_counters_that_are_absent(tmp_path: Path) -> None:
    published = nn.DataParallel(randomised(models.cifar_resnet20(seed=2)))
    old = {name: v for name, v in published.state_dict().items() if "num_batches" not in name}
    torch.save(old, tmp_path / "old.th")
    wrapped = load_weights(nn.DataParallel(models.cifar_resnet20()), tmp_path / "old.th")
    bare = load_weights(models.cifar_resnet20(), tmp_path / "old.th")
    for name, value in old.items():
        assert torch.equal(wrapped.state_dict()[name], value)
        assert torch.equal(bare.state_dict()[name.removeprefix("module.")], value)


def test_another_architecture_is_named_by_its_first_differences(tmp_path: Path) -> None:
    path = tmp_path / "resnet20.th"
    torch.save({"state_dict": with_prefix("module.", models.cifar_resnet20().state_dict())}, path)
    deeper = models.cifar_resnet32()
    before = {name: v.clone() for name, v in deeper.state_dict().items()}
    words = r"of this _CifarResNet: 60 missing in the file: layer1\.3\.conv1\.weight \(16, 16, 3, 3\), .* and 56 more\."
    with pytest.raises(InputError, match=words) as raised:
        load_weights(deeper, path)
    assert "module." not in str(raised.value)
    assert all(torch.equal(v, before[name]) for name, v in deeper.state_dict().items())
    with pytest.raises(
        InputError, match=r"2 of another shape: linear\.weight \(10, 64\) instead of \(100, 64\), linear\.b"
    ):
        load_weights(models.cifar_resnet20(100), path)
    with pytest.raises(InputError, match=r"unknown to the model: bn1\.weight \(16,\)"):
        load_weights(models.cifar_resnet2b(), path)


def test_several_state_dicts_that_fit_are_not_chosen_from(tmp_path: Path) -> None:
    torch.save([models.mnist_6x100(seed=s).state_dict() for s in (0, 1)], tmp_path / "cascade.pth")
    with pytest.raises(
        InputError, match=r"holds 2 state dicts that fit this Sequential; write the one you mean"
    ):
        load_weights(models.mnist_6x100(), tmp_path / "cascade.pth")


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the pickle was run",))


def test_pickles_with_code_are_refused_in_one_sentence(tmp_path: Path) -> None:
    torch.save({"state_dict": published_net().state_dict(), "args": _Code()}, tmp_path / "zip.th")
    torch.save([_Code()], tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(_Code(), protocol=2))
    for name in ("zip.th", "legacy.pt", "bare.pth"):
        with pytest.raises(
            InputError, match=r"such as [\w.]+, and can run any code when opened; save"
        ) as raised:
            load_weights(models.cnn_a((1, 8, 8)), tmp_path / name)
        assert "\n" not in str(raised.value)


def test_a_list_that_contains_itself_ends(tmp_path: Path) -> None:
    endless: list[object] = []
    endless.append(endless)
    (tmp_path / "endless.pt").write_bytes(pickle.dumps(endless, protocol=2))
    with pytest.raises(InputError, match=r"endless\.pt"):
        load_weights(models.mnist_6x100(), tmp_path / "endless.pt")


# normalisation


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 3), (3, 3, 8)])
@pytest.mark.parametrize(
    ("mean", "std"), [((0.1, 0.2, 0.3), (0.5, 1.0, 2.0)), (0.5, [0.1, 0.2, 0.3]), (0.5, 0.25)]
)
def test_mean_and_std_act_on_channels(shape: tuple[int, int, int], mean: object, std: object) -> None:
    net = models.fcn(int(np.prod(shape)), seed=3).eval()
    classifier = as_classifier(net, input_shape=shape, nb_classes=10, mean=mean, std=std)
    x = np.random.default_rng(0).random((4, *shape), dtype=np.float32)
    scaled = (x - np.reshape(np.float32(mean), (-1, 1, 1))) / np.reshape(np.float32(std), (-1, 1, 1))
    with torch.no_grad():
        expected = net(torch.from_numpy(scaled)).numpy()
    assert np.allclose(classifier.predict(x), expected, **close("net", scale=10))
    assert np.allclose(
        adapt(classifier).measure(x, np.zeros(4, int))["logits"], expected, **close("net", scale=10)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mean": 0.5}, "`mean` is given without `std`; pass both"),
        ({"std": 0.5}, "`std` is given without `mean`"),
        ({"mean": [0.5, 0.5], "std": 1.0}, r"`mean` must be a finite number or one per channel, so 3 .*got \[0\.5"),
        ({"mean": 0.5, "std": "wide"}, r"`std` must be a finite number .*got 'wide'"),
        ({"mean": float("nan"), "std": 1.0}, "`mean` must be a finite number"),
        ({"mean": 0.5, "std": [1.0, 0.0, 1.0]}, r"`std` must be greater than 0"),
        ({"mean": 0.5, "std": 1.0, "preprocessing": (0.0, 1.0)}, "the normalisation is given twice"),
    ],
)  # fmt: skip
def test_normalisations_that_cannot_be_used(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_classifier(models.fcn(192), input_shape=(3, 8, 8), nb_classes=10, **options)


# from a configuration

CONFIG = """
deltas = 0.1
[models.published]
factory = "art_flat.models:cnn_a"
weights = "published.th"
mean = [0.3]
std = 0.5
[data]
name = "digits"
n = 5
"""


def test_weights_and_normalisation_from_a_configuration(tmp_path: Path) -> None:
    net = published_net()
    torch.save({"state_dict": with_prefix("module.", net.state_dict())}, tmp_path / "published.th")
    (tmp_path / "run.toml").write_text(CONFIG)
    data, adapters, _ = prepare(*read_config(tmp_path / "run.toml"))
    with torch.no_grad():
        expected = net((torch.from_numpy(np.asarray(data.x)) - 0.3) / 0.5).numpy()
    published = adapters["published"]
    worker = published.made_by.build("cpu")
    for adapter in (published, worker):
        logits = adapter.measure(data.x, data.y)["logits"]
        assert np.allclose(logits, expected, **close("net", scale=float(np.abs(expected).max())))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("std = 0.5", ""), r"models\.published: `mean` is given without `std`"),
        (("[0.3]", "[0.3, 0.4]"), r"models\.published: `mean` must be a finite number or one per channel, so 1 "),
        (("[0.3]", '"blue"'), r"models\.published\.mean: .*got 'blue'"),
        (("cnn_a", "conv_small"), r"models\.published: .*at least 10×10 pixels"),
        (("cnn_a", "mnist_cnn"), r"models\.published: the weights in .*published\.th are not those of this Sequential"),
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_used(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    torch.save(published_net().state_dict(), tmp_path / "published.th")
    (tmp_path / "run.toml").write_text(CONFIG.replace(*change))
    with pytest.raises(ConfigError, match=words):
        prepare(*read_config(tmp_path / "run.toml"))


def test_classifiers_bring_their_own_preprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kiosk.py").write_text(
        "from art_flat.models import as_classifier, digits_cnn\n"
        "def make():\n    return as_classifier(digits_cnn(), input_shape=(1, 8, 8), nb_classes=10)\n"
    )
    with pytest.raises(ConfigError, match="has its own preprocessing; drop `mean` and `std`"):
        build("kiosk:make", input_shape=(1, 8, 8), nb_classes=10, mean=0.5, std=0.5, search_path=tmp_path)


def test_training_does_not_normalise(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text(CONFIG.replace("deltas = 0.1", "").replace("models.published", "model"))
    with pytest.raises(ConfigError, match="trained on the inputs unchanged; drop `mean` and `std`"):
        train_from_config(*read_train_config(path), tmp_path / "out")


# the published weights


@cache
def genuine(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """All test images of MNIST, or the first 1,017 of CIFAR-10."""
    if shape == MNIST:
        data = load_dataset("mnist", root=SHARED / "mnist")
        return data.x, data.y
    assert shape == CIFAR
    with np.load(SHARED / "cifar10_genuine_subset.npz", allow_pickle=False) as data:
        return data["x_test"].astype(np.float32) / 255, data["y_test"]


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "nets").is_dir(), reason="the public nets are not on this machine")
@pytest.mark.parametrize("name", NETS)
def test_accuracy_of_the_published_weights(name: str) -> None:
    net = NETS[name]
    mean, std = net.normalisation
    model = load_weights(net.make(), SHARED / "nets" / f"{name}.safetensors")
    classifier = as_classifier(model, input_shape=net.shape, nb_classes=10, mean=mean, std=std)
    x, y = genuine(net.shape)
    correct = classifier.predict(x, batch_size=256).argmax(axis=1) == y
    assert correct.mean() == pytest.approx(net.accuracy, abs=0.003)
