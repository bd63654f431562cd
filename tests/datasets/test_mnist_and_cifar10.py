"""MNIST and CIFAR-10 from the files in which they are published."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision

from art_flat.datasets import load_dataset
from art_flat.errors import InputError

RNG = np.random.default_rng(0)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_torchvision_folder_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError, match=rf"no {name} in {tmp_path}: the folder .* is missing.*`download = true`"
    ):
        load_dataset(name, root=tmp_path)


def idx(array: np.ndarray) -> bytes:
    """The IDX format that MNIST is stored in: magic number, sizes, bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes() + array.tobytes()


def write_mnist(root: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return raw


def test_mnist_from_its_files(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, size=(5, 28, 28), dtype=np.uint8)
    raw = write_mnist(tmp_path, images, np.array([3, 1, 4, 1, 5], dtype=np.uint8))
    data = load_dataset("mnist", root=tmp_path, n=4)
    assert np.array_equal(data.x, images[:4, None].astype("float32") / np.float32(255))
    assert data.y.tolist() == [3, 1, 4, 1]
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"cannot read mnist from .*remove that folder and load again"):
        load_dataset("mnist", root=tmp_path)


def test_mnist_with_too_few_labels(tmp_path: Path) -> None:
    write_mnist(tmp_path, np.zeros((3, 28, 28), np.uint8), np.zeros(2, np.uint8))
    with pytest.raises(InputError, match=r"has 3 images and 2 labels"):
        load_dataset("mnist", root=tmp_path)


class _OldPickler(pickle.Pickler):
    """Pickles dtypes with align=0, as NumPy once did for CIFAR-10; NumPy 2.4.0 to 2.4.4 warn of it."""

    def reducer_override(self, value: object) -> object:
        return (np.dtype, ("u1", 0, 1)) if isinstance(value, np.dtype) else NotImplemented


def test_cifar10_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = RNG.integers(0, 256, size=(4, 3072), dtype=np.uint8)
    for name, content in {
        "test_batch": {"data": rows, "labels": [6, 0, 9, 2]},
        "batches.meta": {"label_names": [*"abcdefghij"]},
    }.items():
        buffer = io.BytesIO()
        _OldPickler(buffer, protocol=2).dump(content)
        (folder / name).write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"cannot read cifar10 from .*missing or damaged"):
        load_dataset("cifar10", root=tmp_path)  # not the official checksums
    cifar10 = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar10, "train_list", [])
    monkeypatch.setattr(cifar10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(cifar10, "meta", {**cifar10.meta, "md5": None})
    data = load_dataset("cifar10", root=tmp_path, n=3)
    assert np.array_equal(data.x, rows[:3].reshape(3, 3, 32, 32).astype("float32") / np.float32(255))
    assert data.y.tolist() == [6, 0, 9]
    assert data.class_names == tuple("abcdefghij")


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="no real MNIST beside the repository")
def test_real_mnist() -> None:
    train = load_dataset("mnist", root=SHARED / "mnist", split="train", n=10)
    test = load_dataset("mnist", root=SHARED / "mnist")
    assert train.y.tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.x.shape == (10000, 1, 28, 28)
    assert test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert float(test.x.mean()) == pytest.approx(0.1325, abs=1e-3)


@pytest.mark.skipif(
    not (SHARED / "cifar10_genuine_subset.npz").is_file(), reason="no CIFAR-10 beside the repository"
)
def test_real_cifar10_subset() -> None:
    data = load_dataset("npz", path=SHARED / "cifar10_genuine_subset.npz", n=1000)
    assert data.x.shape == (1000, 3, 32, 32)
    assert data.nb_classes == 10
    assert data.y[:6].tolist() == [3, 8, 8, 0, 6, 6]  # cat, ship, ship, airplane, frog, frog
    assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)
