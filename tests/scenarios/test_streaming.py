"""Data larger than memory: evaluate holds a shard, whatever the size of a mapped file or a folder of images."""

import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch

import art_flat as af
from art_flat._utils.hashing import content_hash
from art_flat._utils.streaming import ContentHash, InputRows
from art_flat.errors import InputError
from art_flat.evaluation.probing import N_PROBES

X = np.random.default_rng(0).random((10, 4)).astype("float32")
RUN = {"deltas": {"Linf": [0.1]}, "attacks": ["art_flat:PGD(steps=2)"], "shard_size": 4}


class Lazy:
    """What h5py and zarr promise: shape, dtype, and rows read when they are sliced."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        self.read.append(rows)
        return self.array[rows]


def mapped(folder, mode):
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode=mode)


SOURCES = {
    **{f"mapped {mode}": lambda folder, mode=mode: mapped(folder, mode) for mode in ("r", "r+", "c")},
    "view of a mapped file": lambda folder: np.asarray(mapped(folder, "r"))[:],
    "lazy": lambda _: Lazy(X),
    "tensor": lambda _: torch.as_tensor(X),
    "list": lambda _: X.tolist(),
    "big-endian": lambda _: X.astype(">f4"),
    "read-only": lambda _: np.frombuffer(X.tobytes(), np.float32).reshape(X.shape),
    "transposed": lambda _: np.asfortranarray(X),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_rows(kind, tmp_path):
    rows = InputRows(SOURCES[kind](tmp_path))
    assert (rows.shape, len(rows), rows.dtype) == ((10, 4), 10, np.float64 if kind == "list" else np.float32)
    np.testing.assert_array_equal(rows[3:9:2], X[3:9:2])
    np.testing.assert_array_equal(np.concatenate(list(rows.pieces(slice(0, 10)))), X)
    part = rows[2:4]
    part[:] = 9  # whoever gets rows may write into them
    np.testing.assert_array_equal(np.asarray(rows), X)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "uint32"])
def test_whole_numbers_become_float32(dtype):
    rows = InputRows(Lazy((X * 9).astype(dtype)))
    assert rows.dtype == rows[:2].dtype == np.float32
    np.testing.assert_array_equal(rows[:], (X * 9).astype(dtype).astype(float))


def test_a_mapped_file_gives_the_same_records(tmp_path, linear):
    net, y = linear(np.eye(3, 4) * 4), np.arange(10) % 3
    expected, got = (af.evaluate(net, x, y, **RUN).records() for x in (X, mapped(tmp_path, "r")))
    columns = [c for c in expected.columns if c != "seconds"]
    pd.testing.assert_frame_equal(got[columns], expected[columns])


def test_changes_of_a_private_mapping_are_kept(tmp_path, linear):
    x = mapped(tmp_path, "c")
    x[0] = 0.25
    af.evaluate(linear(np.eye(3, 4)), x, np.arange(10) % 3, **RUN)
    assert (x[0] == 0.25).all()


SHARDS = {(0, 4), (4, 8), (8, 10)}


def test_a_lazy_source_is_read_by_rows_only(linear):
    x = Lazy(X)
    af.evaluate(linear(np.eye(3, 4)), x, np.arange(10) % 3, **RUN)
    read = {(rows.start or 0, rows.stop) for rows in x.read}
    assert read >= SHARDS
    first = {(0, N_PROBES), (0, 2)}  # outputs on probes, and the graph of the model
    assert all(stop - start == 1 or (start, stop) in first for start, stop in read - SHARDS)


def test_faults_are_placed_in_the_whole(linear):
    x = X.copy()
    x[7, 1] = np.nan
    with pytest.raises(InputError, match=r"NaN or infinite values in sample\(s\) 7;"):
        af.evaluate(linear(np.eye(3, 4)), Lazy(x), np.arange(10) % 3, **RUN)


def test_the_hash_of_pieces_is_the_hash_of_the_whole():
    digest = ContentHash()
    digest.begin(X.dtype, X.shape)
    for piece in (X[:3], X[3:3], X[3:]):
        digest.add(piece)
    assert str(digest) == content_hash(X)


def test_saved_rows_are_an_npy_file(tmp_path):
    InputRows(Lazy(X)).save(tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X)


PEAK = """
    import numpy as np, torch
    import art_flat as af
    from art_flat.models import as_classifier
    torch.set_num_threads(1)
    d = 3 * 128 * 128
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 2))
    net = as_classifier(net, input_shape=(3, 128, 128), nb_classes=2)
    options = dict(deltas={"Linf": [0.1]}, attacks=["art_flat:UniformNoise"], shard_size=16, certify=None)
    SOURCE
    def evaluate(n):
        part = x if n == len(x) else x[:n]  # a slice of an image folder is in memory
        af.evaluate(net, part, np.arange(n) % 2, out=f"run-{n}" if "save_adversarial" in options else None, **options)
        status = open("/proc/self/status").read()  # ru_maxrss counts what the parent had when it started this
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    few = evaluate(32)
    print(evaluate(len(x)) - few, len(x) * d * 4 / 2**20)
"""
MAPPED = """
    np.lib.format.open_memmap("x.npy", "w+", "float32", (288, 3, 128, 128))  # a sparse file
    x = np.load("x.npy", mmap_mode="r")
"""


def peak_growth(source, folder):
    """MiB by which the largest memory grew from 32 samples to all of them, and MiB of all of them."""
    script = textwrap.dedent(PEAK).replace("SOURCE", textwrap.dedent(source).strip())
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert not done.returncode, done.stderr
    return map(float, done.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "share"), [(MAPPED, 0.3), (MAPPED + '    options["save_adversarial"] = True', 0.5)]
)
def test_memory_does_not_grow_with_a_mapped_file(source, share, tmp_path):
    grown, size = peak_growth(source, tmp_path)
    assert size > 50
    assert grown < share * size


IMAGES = """
    from PIL import Image
    import pathlib
    for i in range(288):
        path = pathlib.Path("images", "ab"[i % 2], f"{i:03}.png"); path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (128, 128), (i % 256, 0, 0)).save(path)
    x = af.datasets.load_dataset("imagefolder", root="images").x
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_a_folder_of_images(tmp_path):
    grown, size = peak_growth(IMAGES, tmp_path)
    assert size > 50
    assert grown < 0.3 * size
