"""Folders of images: bits, hidden folders, classes of another split, and files read when they are indexed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import art_flat as af
from art_flat.datasets import load_dataset
from art_flat.errors import InputError, UnknownNameError

RNG = np.random.default_rng(0)


def put(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8) if pixels is None else pixels).save(path)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("size", [None, (10, 12)])
def test_sixteen_bits_keep_their_range(suffix, size, tmp_path):
    pixels = np.linspace(0, 65535, 120).reshape(10, 12).astype(np.uint16)
    put(tmp_path / f"a/1.{suffix}", pixels)
    x = load_dataset("imagefolder", root=tmp_path, size=size).x
    assert x.shape == (1, 3, 10, 12)
    np.testing.assert_allclose(x[0], np.stack([pixels / 65535] * 3), atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_eight_bits_of_every_mode(mode, tmp_path):
    image = Image.fromarray(RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)).convert(mode)
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / "1.png")
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(load_dataset("imagefolder", root=tmp_path).x[0], expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_thirty_two_bits_are_refused(dtype, tmp_path):
    put(tmp_path / "a/1.tiff", np.ones((4, 4), dtype))
    with pytest.raises(InputError, match="pixels of 32 bits"):
        load_dataset("imagefolder", root=tmp_path)


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in ("cat/1.png", "dog/1.png", "dog/2.png"):
        put(tmp_path / name)
    for name in (".ipynb_checkpoints/1.png", "cat/.ipynb_checkpoints/1.png", "cat/.thumb.png"):
        put(tmp_path / name)
    for name in ("dog/._1.png", "__MACOSX/dog/._1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"resource fork")
    data = load_dataset("imagefolder", root=tmp_path)
    assert (data.class_names, data.y.tolist()) == (("cat", "dog"), [0, 1, 1])


def test_labels_mean_the_same_in_every_split(tmp_path):
    for name in ("train/cat/1.png", "train/dog/1.png", "train/owl/1.png", "test/cat/1.png", "test/owl/1.png"):
        put(tmp_path / name)
    (tmp_path / ".git").mkdir()
    test = load_dataset("imagefolder", root=tmp_path)
    assert (test.class_names, test.y.tolist()) == (("cat", "dog", "owl"), [0, 2])
    listed = load_dataset("imagefolder", root=tmp_path, classes=["owl", "emu", "cat"])
    assert (listed.class_names, listed.y.tolist()) == (("owl", "emu", "cat"), [0, 2])
    put(tmp_path / "test/bee/1.png")
    with pytest.raises(InputError, match="not classes of the training split: 'bee'"):
        load_dataset("imagefolder", root=tmp_path)
    with pytest.raises(InputError, match="not classes of `classes`: 'bee'"):
        load_dataset("imagefolder", root=tmp_path, classes=["owl", "cat"])


@pytest.mark.parametrize("classes", ["cat", [], ["cat", "cat"], [1]])
def test_classes_must_be_names(classes, tmp_path):
    put(tmp_path / "cat/1.png")
    with pytest.raises(InputError, match="`classes` must be a list of different names"):
        load_dataset("imagefolder", root=tmp_path, classes=classes)


def test_large_folders_are_read_when_indexed(tmp_path):
    pixels = np.zeros((5, 800, 720, 3), np.uint8)
    pixels[:, :4, :6] = RNG.integers(0, 256, (5, 4, 6, 3))
    names = ["a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/2.png"]
    for name, image in zip(names, pixels, strict=True):
        put(tmp_path / name, image)
    whole = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    lazy = load_dataset("imagefolder", root=tmp_path).x
    assert not isinstance(lazy, np.ndarray)
    assert (lazy.shape, lazy.dtype, len(lazy), lazy.nbytes) == (whole.shape, whole.dtype, 5, whole.nbytes)
    for rows in (0, -1, slice(1, 4), [3, 0], whole[:, 0, 0, 0] > 0.5, (slice(None), 1), (2, 0, slice(1, 3))):
        np.testing.assert_array_equal(lazy[rows], whole[rows])
    np.testing.assert_array_equal(np.asarray(lazy), whole)


def test_the_run_keeps_the_names_of_the_classes(tmp_path, linear):
    names = ["cat", "dog"]
    results = af.evaluate(
        linear(np.eye(2)), np.full((2, 2), 0.5), [0, 1], deltas={"Linf": [0.1]}, attacks=["art_flat:UniformNoise"],
        config={"data": {"classes": names}}, out=tmp_path / "out",
    )  # fmt: skip
    assert results.facts["class_names"] == names
    assert af.Results.load(tmp_path / "out").facts["class_names"] == names


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
