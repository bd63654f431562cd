"""Data sets in .npz files: range, classes, channels, and files that cannot be used."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from art_flat.datasets import load_dataset
from art_flat.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture
def pixels() -> np.ndarray:
    return RNG.integers(0, 256, size=(6, 3, 5, 4), dtype=np.uint8)


def write_npz(folder: Path, **arrays: object) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("one_hot", [False, True])
def test_npz_of_bytes(tmp_path: Path, pixels: np.ndarray, one_hot: bool) -> None:
    y = np.array([2, 0, 1, 1, 0, 3])
    path = write_npz(tmp_path, x=pixels, y=np.eye(5)[y] if one_hot else y)
    data = load_dataset("npz", path=path, n=4)
    assert np.array_equal(data.x, pixels[:4].astype("float32") / np.float32(255))
    assert data.x.dtype == np.float32
    assert np.array_equal(data.y, y[:4])
    assert np.array_equal(data.sample_ids, range(4))
    assert (data.nb_classes, data.clip_values) == (5 if one_hot else 4, (0.0, 1.0))


def test_npz_with_both_splits_knows_the_classes_of_both(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_npz(tmp_path, x_train=pixels, y_train=[0, 1, 2, 3, 4, 5], x_test=pixels[:2], y_test=[1, 0])
    test, train = load_dataset("npz", path=path), load_dataset("npz", path=str(path), split="train")
    assert (len(test), len(train)) == (2, 6)
    assert test.nb_classes == train.nb_classes == 6
    assert test.y.tolist() == [1, 0]


def test_npz_of_floats_keeps_its_range(tmp_path: Path) -> None:
    x = RNG.uniform(-2, 3, size=(5, 7))
    path = write_npz(tmp_path, x=x, y=[0, 1, 0, 1, 1], clip_values=[-2, 3], class_names=["cat", "dog", "hen"])
    data = load_dataset("npz", path=path)
    assert np.array_equal(data.x, x.astype("float32"))
    assert (data.clip_values, data.class_names, data.nb_classes) == ((-2.0, 3.0), ("cat", "dog", "hen"), 3)
    assert data.input_shape == (7,)


def test_npz_channels_last(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_npz(tmp_path, x=pixels.transpose(0, 2, 3, 1), y=np.arange(6))
    with pytest.raises(InputError, match=r"looks like \(n, h, w, c\).*set `channels_last = true`"):
        load_dataset("npz", path=path)
    assert np.array_equal(
        load_dataset("npz", path=path, channels_last=True).x, pixels.astype("float32") / 255
    )


UNIT = np.linspace(0, 1, 12).reshape(3, 4)

BAD_NPZ = {
    "range": (
        {"x": UNIT * 255, "y": [0, 1, 2]},
        r"values from 0 to 255, outside 0 to 1; rescale them, or store",
    ),
    "nan": ({"x": np.where(UNIT > 0.9, np.nan, UNIT), "y": [0, 1, 2]}, r"NaN or infinite values"),
    "integers": ({"x": np.arange(12).reshape(3, 4), "y": [0, 1, 2]}, r"has type int64; store uint8"),
    "lengths": ({"x": UNIT, "y": [0, 1]}, r"has 3 samples, and `y` has 2 labels"),
    "no labels": ({"x": UNIT}, r"has no array 'y'; it has x\. Store x and y"),
    "other split": (
        {"x_train": UNIT, "y_train": [0, 1, 2]},
        r"no array 'x_test' and no 'y_test'; it has x_train",
    ),
    "three axes": ({"x": np.zeros((3, 8, 8)), "y": [0, 1, 2]}, r"got \(3, 8, 8\); add the axis of channels"),
    "soft": ({"x": UNIT, "y": np.full((3, 2), 0.5)}, r"soft labels"),
    "negative": ({"x": UNIT, "y": [0, -1, 1]}, r"labels from -1 to 1 for 2 classes; count classes from 0"),
    "names": ({"x": UNIT, "y": [0, 1, 2], "class_names": ["a", "b"]}, r"labels from 0 to 2 for 2 classes"),
    "clip": (
        {"x": UNIT, "y": [0, 1, 2], "clip_values": [1, 0]},
        r"must be two numbers \[low, high\], got \[1, 0\]",
    ),
    "clip of bytes": (
        {"x": np.zeros((3, 4), "uint8"), "y": [0, 1, 2], "clip_values": [0, 255]},
        r"uint8, which is divided by 255, but clip_values is \[0, 255\]",
    ),
    "pickle": (
        {"x": np.array([{}, {}, {}]), "y": [0, 1, 2]},
        r"cannot read .*pickled objects are not opened",
    ),
    "empty": ({"x": np.zeros((0, 4)), "y": np.zeros(0)}, r"has no samples"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_npz_that_cannot_be_used(tmp_path: Path, case: str) -> None:
    arrays, words = BAD_NPZ[case]
    with pytest.raises(InputError, match=words):
        load_dataset("npz", path=write_npz(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken off", pickle.dumps({"x": 1})])
def test_npz_that_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*data\.npz: .*as numpy\.savez writes it"):
        load_dataset("npz", path=tmp_path / "data.npz")


def test_npz_that_is_an_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", UNIT)
    with pytest.raises(InputError, match=r"cannot read .*data\.npy: it holds one array without a name"):
        load_dataset("npz", path=tmp_path / "data.npy")


def test_npz_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*gone\.npz"):
        load_dataset("npz", path=tmp_path / "gone.npz")
