"""A folder of images per class, in the order of torchvision's `ImageFolder`, without hidden files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UnknownNameError
from ._dataset import Dataset, count
from ._image_files import ImageFiles

_TRAINING_FOLDERS = ("train", "training")
_SPLIT_FOLDERS = frozenset({*_TRAINING_FOLDERS, "val", "valid", "validation", "test"})
_DECODED_BYTES = 2**25
"""Maximum size up to which all images are decoded at once."""


def load_imagefolder(
    root: Path,
    split: str,
    n: int | None,
    size: int | Sequence[int] | None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """RGB images (n, 3, h, w) in [0, 1] from `root`/`split`, or from `root` if that is not a folder of classes.

    Args:
        root: The folder.
        split: Name of the folder of the split.
        n: Number of samples, spread evenly over all; None for all.
        size: Height and width to crop and resize to.
        classes: Names of the classes, in the order of the labels; None for the folders of the training split, or
            of this one if there is no training split.

    Returns:
        The samples.

    Raises:
        InputError: If there is no such folder, an image cannot be read, images differ in size, or a class is unknown.
    """
    shape = _shape(size)
    folder = _split_folder(root, split)
    here = _visible_folders(folder)
    names = _class_names(root, folder, here) if classes is None else _checked_classes(classes)
    unknown = [name for name in here if name not in names]
    if unknown:
        source = "`classes`" if classes is not None else "the training split"
        raise InputError(
            f"{folder} has folders that are not classes of {source}: {', '.join(map(repr, unknown))}; move them "
            "away, or list every class in `classes`, in the order of the model's outputs"
        )
    files = [(file, names.index(name)) for name in names if name in here for file in _images(folder / name)]
    _check_found(folder, here, files, names)
    taken = count(n, len(files), str(folder))
    ids = np.arange(taken) * len(files) // taken
    images = ImageFiles([files[i][0] for i in ids], shape)
    y = np.array([files[i][1] for i in ids], dtype=np.int64)
    x: Any = np.asarray(images) if images.nbytes <= _DECODED_BYTES else images
    return Dataset(name="imagefolder", x=x, y=y, class_names=tuple(names), sample_ids=ids)


def _class_names(root: Path, folder: Path, here: list[str]) -> list[str]:
    """The classes of the training split beside a split; those of the folder itself without a training split."""
    if folder != root:
        for name in _TRAINING_FOLDERS:
            if (root / name).is_dir() and (folders := _visible_folders(root / name)):
                return folders
    return here


def _checked_classes(classes: Sequence[str]) -> list[str]:
    names = [] if isinstance(classes, str) else list(classes)
    if not names or len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        raise InputError(f"`classes` must be a list of different names of folders, got {classes!r}")
    return names


def _check_found(folder: Path, here: list[str], files: list[tuple[Path, int]], names: Sequence[str]) -> None:
    filled = {names[label] for _, label in files}
    empty = [name for name in here if name not in filled]
    if not here or empty:
        reason = (
            f"Found no valid file for the classes {', '.join(empty)}" if empty else "Found no class folder"
        )
        raise InputError(
            f"{folder} is not a folder of images: {reason}. It must hold one folder per class, "
            "with the images of the class in it"
        )


def _images(folder: Path) -> Iterator[Path]:
    """Images below a folder, in torchvision's order; hidden files and folders are left out."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    for folder_path, _, files in sorted(os.walk(folder, followlinks=True)):
        if any(map(_is_hidden, Path(folder_path).relative_to(folder).parts)):
            continue
        for name in sorted(files):
            if name.lower().endswith(IMG_EXTENSIONS) and not _is_hidden(name):
                yield Path(folder_path, name)


def _visible_folders(folder: Path) -> list[str]:
    return sorted(e.name for e in folder.iterdir() if e.is_dir() and not _is_hidden(e.name))


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or is where macOS puts its metadata in archives."""
    return name.startswith(".") or name == "__MACOSX"


def _shape(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(s, int) and s > 0 for s in pair):
        raise InputError(f"`size` must be a number of pixels or (height, width), got {size!r}")
    return pair[0], pair[1]


def _split_folder(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; `root` must hold one folder of images per class")
    inside = _visible_folders(root)
    if split in inside and _visible_folders(root / split):
        return root / split
    if inside and _SPLIT_FOLDERS.issuperset(inside):  # not classes called "train" and "val"
        raise UnknownNameError(f"split in {root}", split, inside)
    return root
