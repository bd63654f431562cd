"""Images in files as one array, decoded when they are indexed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

_SIXTEEN_BITS = 65535


class ImageFiles:
    """RGB images in files, read when they are indexed; `numpy.asarray` reads all of them.

    Args:
        files: The files.
        size: Height and width to crop and resize to; None if all images have the same size.

    Attributes:
        shape: (n, 3, h, w).
        dtype: float32.
        ndim: 4.

    Raises:
        InputError: If an image cannot be opened, or they differ in size.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, files: Sequence[Path], size: tuple[int, int] | None) -> None:
        self._files, self._size = list(files), size
        height, width = size or _common_size(self._files)
        self.shape = (len(self._files), 3, height, width)

    @property
    def nbytes(self) -> int:
        """Bytes that all images would take in memory."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Some images.

        Args:
            rows: An index, a slice, or an array of indices or booleans; further axes as in NumPy.

        Returns:
            Pixels in [0, 1].
        """
        first, *rest = rows if isinstance(rows, tuple) else (rows,)
        which = np.arange(len(self))[first]
        if which.ndim == 0:
            image = self._read(int(which))
            return image[tuple(rest)] if rest else image
        images = np.empty((len(which), *self.shape[1:]), dtype=self.dtype)
        for row, i in enumerate(which):
            images[row] = self._read(int(i))
        return images[(slice(None), *rest)] if rest else images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"<ImageFiles: shape {self.shape}, read when indexed>"

    def _read(self, i: int) -> np.ndarray:
        from PIL import Image

        file = self._files[i]
        try:
            with Image.open(file) as image:
                return _pixels(image, self._size)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"cannot read the image {file}: {error}; repair or remove it") from error


def _pixels(image: Any, size: tuple[int, int] | None) -> np.ndarray:
    """An open image as float32 (3, h, w) in [0, 1], of any mode and bit depth."""
    from PIL import ImageOps

    highest = 255
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image, highest = image.convert("I").convert("F"), _SIXTEEN_BITS
    elif image.mode in {"I", "F"}:
        raise InputError(
            f"the image {image.filename} has pixels of 32 bits, whose range is not known; convert it to 8 or 16 bits"
        )
    else:
        image = image.convert("RGB")
    if size is not None:
        image = ImageOps.fit(image, size[::-1])
    pixels = np.asarray(image, dtype=np.float32) / np.float32(highest)
    pixels = np.stack([pixels] * 3) if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels.clip(0, 1))  # resizing overshoots in floats


def _common_size(files: Sequence[Path]) -> tuple[int, int]:
    """Height and width of all images, from their headers."""
    from PIL import Image

    common = None
    for file in files:
        try:
            with Image.open(file) as image:
                width, height = image.size
        except Exception as error:
            raise InputError(f"cannot read the image {file}: {error}; repair or remove it") from error
        common = common or (height, width)
        if (height, width) != common:
            raise InputError(
                f"the images differ in size: {file} has {height}×{width} pixels, those before it "
                f"{common[0]}×{common[1]}; pass `size`, such as 32 or [32, 32], to bring all to one"
            )
    return common or (0, 0)
