"""A folder of images per class, as torchvision's `ImageFolder` finds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import check_count
from .._errors import InputError, UnknownNameError
from ._dataset import Dataset, count

_SPLIT_FOLDERS = frozenset({"train", "training", "val", "valid", "validation", "test"})


def load_imagefolder(root: Path, split: str, n: int | None, size: int | Sequence[int] | None) -> Dataset:
    """RGB images (n, 3, h, w) in [0, 1] from `root`/`split`, or from `root` if that is no folder of classes.

    Returns:
        All samples, or `n` spread evenly over them.

    Raises:
        InputError: If there is no such folder, an image cannot be read, or images differ in size.
    """
    from PIL import ImageOps
    from torchvision.datasets import ImageFolder

    shape = _shape(size)
    folder = _split_folder(root, split)
    try:
        found = ImageFolder(folder)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is no folder of images: {str(error).strip('. ')}. It must hold one folder per class, "
            "with the images of the class in it"
        ) from error
    total = len(found.samples)
    taken = count(n, total, str(folder))
    ids = np.arange(taken) * total // taken
    images = np.empty((0, 0))
    for row, i in enumerate(ids):
        file = found.samples[i][0]
        try:
            image = found.loader(file)
        except Exception as error:
            raise InputError(f"cannot read the image {file}: {error}; repair or remove it") from error
        if shape is not None:
            image = ImageOps.fit(image, (shape[1], shape[0]))
        pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
        if row == 0:
            images = np.empty((taken, *pixels.shape), dtype=np.float32)
        if pixels.shape != images.shape[1:]:
            here, before = (f"{height}×{width}" for _, height, width in (pixels.shape, images.shape[1:]))
            raise InputError(
                f"the images in {folder} differ in size: {file} has {here} pixels, those before it {before}; "
                "pass `size`, such as 32 or [32, 32], to bring all to one"
            )
        images[row] = pixels
    y = np.asarray(found.targets, dtype=np.int64)[ids]
    return Dataset(name="imagefolder", x=images, y=y, class_names=tuple(found.classes), sample_ids=ids)


def _shape(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair: Any = (size, size) if np.ndim(size) == 0 else size
    try:
        height, width = (check_count(s, "size") for s in pair)
    except (TypeError, ValueError):  # InputError among them
        raise InputError(f"`size` must be a number of pixels or (height, width), got {size!r}") from None
    return height, width


def _split_folder(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; `root` must hold one folder of images per class")
    inside = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    if split in inside and any(entry.is_dir() for entry in (root / split).iterdir()):
        return root / split
    if inside and _SPLIT_FOLDERS.issuperset(inside):  # not classes called "train" and "val"
        raise UnknownNameError(f"split in {root}", split, inside)
    return root
