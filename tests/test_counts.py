"""NumPy integers are accepted wherever an integer is; bools and fractions are not."""

import numpy as np
import pytest
import torch

import art_flat as af
from art_flat._utils.numbers import check_count
from art_flat.datasets import load_dataset
from art_flat.detection import detection_table
from art_flat.errors import InputError
from art_flat.training import Adversary, train

TWO = np.int64(2)


@pytest.mark.parametrize("value", [2, TWO, np.uint8(2), torch.tensor(2), np.array(2)])
def test_whole_numbers(value):
    assert check_count(value, "n") == 2
    assert type(check_count(value, "n")) is int


@pytest.mark.parametrize("value", [True, np.True_, 2.0, np.float64(2), "2", None, 0, -1, [2]])
def test_what_is_not_one(value):
    with pytest.raises(InputError, match="`n` must be a whole number of at least 1, got"):
        check_count(value, "n")


def data(n=6, d=4):
    return np.random.default_rng(0).random((n, d), dtype=np.float32), np.arange(n) % 3


def test_evaluate(linear, tmp_path):
    x, y = data()
    net = linear(np.random.default_rng(1).normal(size=(3, 4)))
    options = {"attacks": "art_flat:PGD(steps=2)", "certify": None}
    plain = af.evaluate(net, x, y, deltas={"Linf": [0.1]}, shard_size=4, **options)
    numbers = af.evaluate(
        net, x, y, deltas={"Linf": np.float32(0.1)}, seed=np.int64(0), shard_size=np.int32(4), threads=np.int64(1),
        n_jobs=np.int64(1), samples=np.arange(6, dtype=np.uint8), out=tmp_path / "run", **options,
    )  # fmt: skip
    assert numbers.summary()["n_evaluated"].tolist() == plain.summary()["n_evaluated"].tolist()
    part = af.evaluate(
        net,
        x,
        y,
        deltas={"Linf": [0.1]},
        part=(np.int64(1), TWO),
        out=tmp_path / "part",
        shard_size=4,
        **options,
    )
    assert len(part.clean) < 6
    for wrong in [{"shard_size": 2.5}, {"threads": True}, {"n_jobs": 0.5}, {"part": (1.0, 2)}, {"part": "a"}]:
        with pytest.raises(InputError, match=next(iter(wrong))):
            af.evaluate(net, x, y, deltas={"Linf": [0.1]}, out=tmp_path / "wrong", **{**options, **wrong})


def test_everything_else(linear):
    x, y = data(30)
    net = linear(np.random.default_rng(1).normal(size=(3, 4)))
    assert net.relative_sharpness(x, batch_size=TWO).shape == (30,)
    assert len(load_dataset("digits", split="test", n=TWO, seed=TWO)) == 2
    assert Adversary(delta=0.1, steps=TWO).steps == 2
    train(torch.nn.Sequential(torch.nn.Linear(4, 3)), x, y, epochs=TWO, batch_size=np.int32(10), seed=TWO)
    table = detection_table(net, x, y, "art_flat:PGD(steps=2)", np.float32(0.1), folds=TWO, seed=TWO)
    assert len(table) == 1
