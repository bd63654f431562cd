"""`load_dataset`: validates the options and selects the loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._utils.numbers import check_count
from ..errors import InputError, UnknownNameError
from ._dataset import Dataset
from ._imagefolder import load_imagefolder
from ._npz import load_npz
from ._standard import load_digits, load_torchvision

_OPTIONS = {
    "digits": {"seed"},
    "mnist": {"root", "download"},
    "cifar10": {"root", "download"},
    "imagefolder": {"root", "size", "classes"},
    "npz": {"path", "channels_last"},
}
NAMES = tuple(_OPTIONS)
"""The valid names for `load_dataset`."""


def load_dataset(
    name: str,
    *,
    root: str | Path | None = None,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    download: bool = False,
    path: str | Path | None = None,
    size: int | Sequence[int] | None = None,
    channels_last: bool = False,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Load one split of a data set.

    | name | what | needs |
    |---|---|---|
    | digits | scikit-learn's 8×8 digits, 1,297 to train and 500 to test, stratified | nothing |
    | mnist | torchvision's MNIST | `root`, the folder with MNIST/raw in it |
    | cifar10 | torchvision's CIFAR-10 | `root`, the folder with cifar-10-batches-py in it |
    | imagefolder | a folder of images per class, in `root`/`split` or in `root` itself; made RGB | `root` |
    | npz | arrays x, y or x_train, y_train, x_test, y_test; perhaps clip_values, class_names | `path` |

    In an .npz, uint8 inputs are divided by 255; floats are kept and must lie between the two numbers of its
    clip_values, or in [0, 1] if it has none. Arrays called x and y serve as either split, and so does a
    `root` without a folder for the split.

    Args:
        name: One of `NAMES`.
        root: Folder of mnist, cifar10 and imagefolder.
        split: "train" or "test"; for imagefolder any folder in `root`.
        n: Number of samples; None for all. The first n in the stored order, except that an image folder, which
            is stored class by class, returns n spread evenly over it; only these images are read.
        seed: Seed of the split of digits; ignored for the other data sets.
        download: Whether torchvision may download mnist or cifar10 into `root` if they are not there.
        path: File of npz.
        size: Height and width of imagefolder's images, one number or two: each image is cropped to that shape
            around its centre and resized. None leaves images unchanged; all must then have the same size.
        classes: Names of imagefolder's classes, in the order of the model's outputs. None uses the folders of the
            training split beside the split, so that labels mean the same in both. Hidden folders are not classes.
        channels_last: Whether the images of an npz have shape (n, h, w, c); they become (n, c, h, w).

    Returns:
        The samples, in [0, 1] unless an .npz has other `clip_values`. Image folders above 32 MB stay on disk:
        `x` then reads files when indexed, and `evaluate` reads one shard at a time.

    Raises:
        UnknownNameError: If the data set or split is unknown.
        InputError: If files are missing or damaged, an option is missing or not valid for this data set,
            or `n` is not between 1 and the number of samples.

    >>> data = load_dataset("digits", n=100)
    >>> data.x.shape, data.y.shape, data.nb_classes, float(data.x.max())
    ((100, 1, 8, 8), (100,), 10, 1.0)
    """
    options = {"root": root, "path": path, "size": size, "classes": classes, "download": download}
    _check_options(name, split, {**options, "channels_last": channels_last})
    n = None if n is None else check_count(n, "n", of="samples")
    if name == "digits":
        return load_digits(split, n, seed)
    if name == "npz":
        return load_npz(_location(name, "path", path, "file"), split, n, channels_last)
    folder = _location(name, "root", root, "folder")
    if name == "imagefolder":
        return load_imagefolder(folder, split, n, size, classes)
    return load_torchvision(name, folder, split, n, download)


def _check_options(name: str, split: str, given: Mapping[str, Any]) -> None:
    """Reject an unknown data set or split, and options that the data set does not take."""
    if name not in _OPTIONS:
        raise UnknownNameError("data set", name, NAMES)
    if name != "imagefolder" and split not in {"train", "test"}:
        raise UnknownNameError("split", split, ("train", "test"))
    for option, value in given.items():
        if value is not None and value is not False and option not in _OPTIONS[name]:
            options = ", ".join(f"`{o}`" for o in sorted(_OPTIONS[name]))
            raise InputError(f"data set {name!r} does not take `{option}`; its options are {options}")


def _location(name: str, option: str, value: str | Path | None, kind: str) -> Path:
    """The file or folder of a data set, which is required."""
    if value is None:
        raise InputError(f"data set {name!r} needs `{option}`, the {kind} it is in")
    return Path(value).expanduser()
