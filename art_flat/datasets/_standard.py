"""scikit-learn's digits, and MNIST and CIFAR-10 as torchvision reads and downloads them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .._utils.formatting import counted
from .._utils.numbers import check_seed
from ..errors import InputError
from ._dataset import Dataset, count

_DIGITS = tuple("0123456789")
_FOLDERS = {"mnist": "MNIST/raw", "cifar10": "cifar-10-batches-py"}


def load_digits(split: str, n: int | None, seed: int) -> Dataset:
    """The 8×8 digits, 500 of the 1,797 to test.

    Returns:
        One split, in scikit-learn's order; the same for the same seed.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    x, y = datasets.load_digits(return_X_y=True)
    train, test = train_test_split(
        np.arange(len(x)), test_size=500, stratify=y, random_state=check_seed(seed) % 2**32
    )
    ids = np.sort(test if split == "test" else train)
    ids = ids[: count(n, len(ids), f"the {split} split of digits")].astype(np.int64)
    images = (x[ids] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return Dataset(name="digits", x=images, y=y[ids].astype(np.int64), class_names=_DIGITS, sample_ids=ids)


def load_torchvision(name: str, root: Path, split: str, n: int | None, download: bool) -> Dataset:
    """MNIST or CIFAR-10 from torchvision's folders below `root`, in the official order.

    Returns:
        The first `n` samples of the split.

    Raises:
        InputError: If the files are missing, damaged or cannot be downloaded.
    """
    from torchvision import datasets

    folder = root / _FOLDERS[name]
    if not download and not folder.is_dir():
        raise InputError(
            f"no {name} in {root}: the folder {folder} is missing. Pass as `root` the folder it is in, "
            "or let torchvision fetch it: `download = true`"
        )
    loader = datasets.MNIST if name == "mnist" else datasets.CIFAR10
    try:
        with warnings.catch_warnings():
            # CIFAR-10 was pickled by an old NumPy; 2.4.0 to 2.4.4 warn of such files
            warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed")
            loaded: Any = loader(root, train=split == "train", download=download)
    except Exception as error:
        raise InputError(
            f"cannot read {name} from {folder}: {type(error).__name__}: {error}. A file is missing or "
            "damaged, or the download failed; remove that folder and load again with `download = true`"
        ) from error
    x, y = np.asarray(loaded.data), np.asarray(loaded.targets, dtype=np.int64)
    if len(x) != len(y):
        raise InputError(
            f"{name} in {folder} has {counted(len(x), 'image')} and {counted(len(y), 'label')}; "
            "remove that folder and load "
            "again with `download = true`"
        )
    ids = np.arange(count(n, len(x), f"the {split} split of {name}"))
    images = x[ids, None] if name == "mnist" else x[ids].transpose(0, 3, 1, 2)
    images = np.ascontiguousarray(images, dtype=np.float32) / np.float32(255)
    names = _DIGITS if name == "mnist" else tuple(loaded.classes)
    return Dataset(name=name, x=images, y=y[ids], class_names=names, sample_ids=ids)
