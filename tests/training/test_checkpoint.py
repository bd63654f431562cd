"""A training that was interrupted ends where the other one ends, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sampling import slow
from torch import nn

from art_flat.errors import InputError
from art_flat.models import resnet18
from art_flat.training import Adversary, train
from art_flat.training._checkpoint import Checkpoint

RNG = np.random.default_rng(0)
X, Y = RNG.random((40, 3, 8, 8), dtype=np.float32), np.arange(40) % 10
SETTINGS = {"epochs": 3, "batch_size": 8, "lr": 0.05, "crop": 1, "flip": True, "channels_last": True}


def net() -> nn.Module:
    """Batch norm has state of its own, dropout draws in every step."""
    model = resnet18(0.125)
    model.fc = nn.Sequential(nn.Dropout(0.3), model.fc)
    return model


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def until(step: int):
    def progress(done: int, total: int, loss: float) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(
    "adversary", [None, slow(Adversary(steps=2)), slow(Adversary(steps=1, trainer="art"))]
)
@pytest.mark.parametrize("stops", [slow([5]), [7, 12], slow([15])])
def test_goes_on_exactly(tmp_path: Path, stops: list[int], adversary: Adversary | None) -> None:
    settings = {**SETTINGS, "adversary": adversary}
    if adversary is not None and adversary.trainer == "art":
        settings["channels_last"] = False
    rows: list[dict[str, float]] = []
    whole = state(train(net(), X, Y, **settings, on_epoch=lambda h: rows.append(dict(h[-1]))))
    path = tmp_path / "new" / "checkpoint.safetensors"
    for step in stops:
        with pytest.raises(KeyboardInterrupt):
            train(net(), X, Y, **settings, checkpoint=path, progress=until(step))
    seen: list[int] = []
    history: list[dict[str, float]] = []
    model = train(
        net(), X, Y, **settings, checkpoint=path, progress=lambda done, *_: seen.append(done),
        on_epoch=lambda h: history.__setitem__(slice(None), h),
    )  # fmt: skip
    assert seen == [*range(stops[-1] + 1, 16)]
    again = state(model)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[k], again[k]) for k in whole)
    for ours, theirs in zip(history, rows, strict=True):
        del ours["seconds"], theirs["seconds"]
        assert ours == pytest.approx(theirs, rel=1e-12)


def test_without_the_stored_momentum_it_would_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard above does fail for a checkpoint of the weights alone."""
    whole, path = state(train(net(), X, Y, **SETTINGS)), tmp_path / "c.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(net(), X, Y, **SETTINGS, checkpoint=path, progress=until(7))
    load = Checkpoint.load

    def forgetful(self, model, optimizer):
        done = load(self, model, optimizer)
        optimizer.state.clear()
        return done

    monkeypatch.setattr(Checkpoint, "load", forgetful)
    again = state(train(net(), X, Y, **SETTINGS, checkpoint=path))
    assert not all(torch.equal(whole[k], again[k]) for k in whole)


def test_a_step_that_was_cut_short_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, path, steps = state(train(net(), X, Y, **SETTINGS)), tmp_path / "c.safetensors", []
    step = torch.optim.SGD.step

    def cut(self, *args):
        result = step(self, *args)
        steps.append(1)
        if len(steps) == 8:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.SGD, "step", cut)
        with pytest.raises(KeyboardInterrupt):
            train(net(), X, Y, **SETTINGS, checkpoint=path)
    seen: list[int] = []
    again = state(
        train(net(), X, Y, **SETTINGS, checkpoint=path, progress=lambda done, *_: seen.append(done))
    )
    assert seen[0] == 6  # the epoch before is there
    assert all(torch.equal(whole[k], again[k]) for k in whole)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    first = state(train(net(), X, Y, **SETTINGS, checkpoint=path))

    def never(*_: object) -> None:
        raise AssertionError("a step was taken")

    again = state(train(net(), X, Y, **SETTINGS, checkpoint=path, progress=never))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": 0.01}, r"other settings: lr \(0.05, now 0.01\); restore them, or remove the file"),
        ({"seed": 3}, r"seed \(0, now 3\)"),
        ({"y": (Y + 1) % 10}, r"data \("),
        ({"model": resnet18(0.14)}, r"network \("),
        ({"adversary": Adversary()}, r"adversary \('None', now .Adversary\(delta=0.03"),
    ],
)
def test_of_another_training(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(net(), X, Y, **SETTINGS, checkpoint=path, progress=until(1))
    before = path.read_bytes()
    with pytest.raises(InputError, match=words):
        train(**{"model": net(), "x": X, "y": Y, **SETTINGS, "checkpoint": path, **change})
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"{}", lambda b: b""])
def test_damaged(tmp_path: Path, damage) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(net(), X, Y, **SETTINGS, checkpoint=path, progress=until(1))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*remove it to train from the start"):
        train(net(), X, Y, **SETTINGS, checkpoint=path)
