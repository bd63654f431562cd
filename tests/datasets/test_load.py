"""Data sets: stored values are loaded in the documented range, shape and order; errors explain the fix."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from art_flat.datasets import NAMES, load_dataset
from art_flat.errors import InputError, UnknownNameError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
RNG = np.random.default_rng(0)


@pytest.fixture
def pixels() -> np.ndarray:
    return RNG.integers(0, 256, size=(6, 3, 5, 4), dtype=np.uint8)


def write_npz(folder: Path, **arrays: object) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def write_images(
    root: Path, per_class: dict[str, int], shape: tuple[int, int] = (5, 4)
) -> dict[str, np.ndarray]:
    """PNGs of random colours, `root`/class/NN.png; the arrays written, by path."""
    written = {}
    for name, number in per_class.items():
        (root / name).mkdir(parents=True)
        for i in range(number):
            image = RNG.integers(0, 256, size=(*shape, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / name / f"{i:02}.png")
            written[f"{name}/{i:02}"] = image
    return written


# digits


def test_digits_are_scikit_learns_in_its_order() -> None:
    x, y = load_digits(return_X_y=True)
    train, test = load_dataset("digits", split="train"), load_dataset("digits")
    assert (len(train), len(test)) == (1297, 500)
    assert sorted([*train.sample_ids, *test.sample_ids]) == list(range(1797))
    for data in (train, test):
        assert (np.diff(data.sample_ids) > 0).all()
        assert np.array_equal(data.x.reshape(-1, 64), x[data.sample_ids].astype("float32") / 16)
        assert np.array_equal(data.y, y[data.sample_ids])
        assert (data.x.dtype, data.y.dtype, data.sample_ids.dtype) == (np.float32, np.int64, np.int64)
        assert (data.input_shape, data.nb_classes, data.clip_values) == ((1, 8, 8), 10, (0.0, 1.0))
        assert data.class_names == tuple("0123456789")
    # stratified: each class's share of 500 to the nearest whole sample or two
    assert np.abs(np.bincount(test.y) - np.bincount(y) * 500 / 1797).max() < 2


def test_digits_split_follows_its_seed_only() -> None:
    before = np.random.get_state()[1].copy()
    again, other = load_dataset("digits", seed=0), load_dataset("digits", seed=1)
    assert np.array_equal(again.sample_ids, load_dataset("digits").sample_ids)
    assert not np.array_equal(again.sample_ids, other.sample_ids)
    assert np.array_equal(np.random.get_state()[1], before)


def test_first_n() -> None:
    some, every = load_dataset("digits", n=7), load_dataset("digits")
    assert len(some) == 7
    assert np.array_equal(some.x, every.x[:7])
    assert np.array_equal(some.y, every.y[:7])
    assert np.array_equal(some.sample_ids, every.sample_ids[:7])
    assert some.nb_classes == 10


# options


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "many"])
def test_n_must_count(n: object) -> None:
    with pytest.raises(InputError, match=r"`n` must be a whole number of samples, at least 1, got"):
        load_dataset("digits", n=n)


def test_n_beyond_the_data() -> None:
    with pytest.raises(InputError, match=r"`n` is 501, but the test split of digits has 500 samples"):
        load_dataset("digits", n=501)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data set 'minst': did you mean 'mnist'"):
        load_dataset("minst")
    with pytest.raises(UnknownNameError, match=r"unknown split 'tests': did you mean 'test'"):
        load_dataset("digits", split="tests")


def test_every_name_but_digits_needs_a_place() -> None:
    for name in set(NAMES) - {"digits"}:
        with pytest.raises(
            InputError, match=rf"data set '{name}' needs `{'path' if name == 'npz' else 'root'}`"
        ):
            load_dataset(name)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("digits", {"root": "x"}),
        ("mnist", {"size": [8, 8]}),
        ("npz", {"download": True}),
        ("cifar10", {"path": "x"}),
    ],
)
def test_options_without_meaning_are_refused(name: str, option: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"data set '{name}' does not take `{next(iter(option))}`"):
        load_dataset(name, **option)


# npz


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


# imagefolder


@pytest.mark.parametrize("inside", ["", "test"])
def test_imagefolder(tmp_path: Path, inside: str) -> None:
    written = write_images(tmp_path / inside, {"cat": 2, "ant": 3})
    data = load_dataset("imagefolder", root=tmp_path)
    assert data.class_names == ("ant", "cat")
    assert data.y.tolist() == [0, 0, 0, 1, 1]
    assert data.sample_ids.tolist() == [0, 1, 2, 3, 4]
    expected = [written[f"{name}/{i:02}"] for name, number in (("ant", 3), ("cat", 2)) for i in range(number)]
    assert np.array_equal(
        data.x, np.stack(expected).transpose(0, 3, 1, 2).astype("float32") / np.float32(255)
    )


def test_imagefolder_reads_n_spread_over_the_classes(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 4, "b": 4, "c": 4})
    for file in tmp_path.glob("*/0[1-3].png"):
        file.write_bytes(b"never opened")
    data = load_dataset("imagefolder", root=tmp_path, n=3)
    assert data.y.tolist() == [0, 1, 2]
    assert data.sample_ids.tolist() == [0, 4, 8]
    with pytest.raises(InputError, match=r"cannot read the image .*01\.png.*repair or remove it"):
        load_dataset("imagefolder", root=tmp_path)


def test_imagefolder_of_different_sizes(tmp_path: Path) -> None:
    write_images(tmp_path / "a", {"x": 1}, shape=(6, 6))
    write_images(tmp_path / "b", {"x": 1}, shape=(6, 9))
    with pytest.raises(
        InputError, match=r"differ in size: .*00\.png has 6×9 pixels, those before it 6×6; pass `size`"
    ):
        load_dataset("imagefolder", root=tmp_path)
    assert load_dataset("imagefolder", root=tmp_path, size=4).x.shape == (2, 3, 4, 4)
    assert load_dataset("imagefolder", root=tmp_path, size=[4, 8]).x.shape == (2, 3, 4, 8)


def test_imagefolder_size_cuts_around_the_centre(tmp_path: Path) -> None:
    image = write_images(tmp_path, {"a": 1}, shape=(6, 8))["a/00"].transpose(2, 0, 1).astype(
        "float32"
    ) / np.float32(255)
    assert np.array_equal(load_dataset("imagefolder", root=tmp_path, size=[6, 8]).x[0], image)
    assert np.array_equal(load_dataset("imagefolder", root=tmp_path, size=6).x[0], image[:, :, 1:7])


@pytest.mark.parametrize("size", [0, [4], "4", [4, -1]])
def test_imagefolder_size_must_be_pixels(tmp_path: Path, size: object) -> None:
    write_images(tmp_path, {"a": 1})
    with pytest.raises(InputError, match=r"`size` must be a number of pixels or \(height, width\)"):
        load_dataset("imagefolder", root=tmp_path, size=size)


def test_imagefolder_does_not_take_splits_for_classes(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"a": 1, "b": 1})
    write_images(tmp_path / "val", {"a": 1, "b": 2})
    with pytest.raises(UnknownNameError, match=r"unknown split in .*'test'.*'train'"):
        load_dataset("imagefolder", root=tmp_path)
    assert len(load_dataset("imagefolder", root=tmp_path, split="val")) == 3


def test_imagefolder_with_a_class_called_train(tmp_path: Path) -> None:
    write_images(tmp_path, {"bus": 1, "train": 1})
    assert load_dataset("imagefolder", root=tmp_path, split="train").class_names == ("bus", "train")


def test_imagefolder_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*gone"):
        load_dataset("imagefolder", root=tmp_path / "gone")
    with pytest.raises(InputError, match=r"is not a folder of images: .*one folder per class"):
        load_dataset("imagefolder", root=tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=r"is not a folder of images: Found no valid file for the classes a"):
        load_dataset("imagefolder", root=tmp_path)


# mnist and cifar10


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
