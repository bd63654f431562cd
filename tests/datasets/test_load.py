"""Digits and the options of every data set."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from art_flat.datasets import NAMES, load_dataset
from art_flat.errors import InputError, UnknownNameError


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
