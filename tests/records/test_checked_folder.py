"""Every flipped bit of every file of a results folder is noticed; checksums are there before the files."""

import contextlib
import random

import numpy as np
import pytest

from art_flat.errors import StoreError
from art_flat.records.checked_folder import CheckedFolder
from art_flat.records.schema import make_frame
from art_flat.records.store import DamagedFileWarning, Store

MANIFEST = {
    **{"run": "r", "seed": 0, "threads": 1, "n_samples": 3, "epsilons": [0.1], "clean_units": ["unit"]},
    **{
        "deltas": {"Linf": [0.1]},
        "models": {"m": {"sha256": "0"}},
        "attacks": [],
        "packages": {"torch": "2"},
    },
}
READERS = {
    "manifest.json": Store.read_manifest,
    "config.toml": Store.read_config,
    "adversarial/unit.parquet": lambda store: store.read_unit("adversarial", "unit"),
    "points/unit.safetensors": lambda store: store.read_points("unit"),
}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "run", "r")
    store.begin({"seed": 0, "deltas": {"Linf": [0.1]}, "models": {"m": {"sha256": "0"}}})
    store.write_manifest(MANIFEST)
    store.write_models(make_frame("models", {"model": "m", "weight_norm": 1.5}, 1))
    rows = {"model": "m", "unit": "unit", "sample": np.arange(3), "loss": np.array([0.1, np.nan, 2.0])}
    store.write_unit("adversarial", "unit", make_frame("adversarial", rows, 3))
    store.write_points("unit", (np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), np.arange(3)))
    return store


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", READERS)
def test_every_flipped_bit_is_noticed(store, name):
    path, read, chance = store.folder / name, READERS[name], random.Random(0)
    content = path.read_bytes()
    read(store)
    for bit in chance.sample(range(8 * len(content)), min(1500, 8 * len(content))):
        path.write_bytes(flipped(content, bit))
        with pytest.raises(StoreError):
            read(store)
    for end in range(0, len(content), max(1, len(content) // 30)):
        path.write_bytes(content[:end])
        with pytest.raises(StoreError):
            read(store)
    path.write_bytes(content)
    read(store)


def test_a_damaged_unit_is_set_aside_so_that_it_is_computed_again(store):
    path = store.folder / "adversarial" / "unit.parquet"
    content, chance = path.read_bytes(), random.Random(1)
    frame = store.finished("adversarial", "unit")
    for n in range(1, 21):
        path.write_bytes(flipped(content, chance.randrange(8 * len(content))))
        with pytest.warns(DamagedFileWarning, match="it is damaged"):
            assert store.finished("adversarial", "unit") is None
        assert not path.exists()
        assert len(list((store.folder / "damaged").iterdir())) == n
        store.write_unit("adversarial", "unit", frame)
    assert path.read_bytes() == content


def test_a_writer_that_is_killed_between_checksum_and_file_leaves_the_old_file_readable(
    tmp_path, monkeypatch
):
    folder = CheckedFolder(tmp_path)
    path = tmp_path / "file"
    folder.write(path, b"old")
    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        folder.write(path, b"new")
    assert folder.read(path) == b"old"
    folder.write(path, b"new")
    assert folder.read(path) == b"new"


def test_any_order_of_two_writers_leaves_a_readable_file(tmp_path):
    one, two = CheckedFolder(tmp_path), CheckedFolder(tmp_path)
    path = tmp_path / "file"
    one.write(path, b"1")
    two.write(path, b"2")
    path.write_bytes(b"1")  # as if the first were the last to move its file into place
    assert two.read(path) == b"1"
