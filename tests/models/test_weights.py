"""Weights in files: saved as safetensors, loaded into the same network, refused otherwise."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from art_flat import models
from art_flat.errors import InputError
from art_flat.models import load_weights, save_weights


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[name]) for name, v in a.state_dict().items())


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
