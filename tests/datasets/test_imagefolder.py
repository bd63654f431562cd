"""Folders of images: bits, hidden folders, classes of another split, and files read when they are indexed."""

import numpy as np
import pytest
from PIL import Image

import art_flat as af
from art_flat.datasets import load_dataset
from art_flat.errors import InputError

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
