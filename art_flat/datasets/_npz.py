"""Inputs and labels from an .npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .._utils.formatting import counted
from .._utils.validation import check_labels
from ..errors import InputError
from ._dataset import Dataset, count

_CHANNELS = (1, 3, 4)


def load_npz(path: Path, split: str, n: int | None, channels_last: bool) -> Dataset:
    """Arrays x, y or x_{split}, y_{split} of a file; no code in the file is run.

    Returns:
        The first `n` samples.

    Raises:
        InputError: If the file or an array is missing or damaged, or its values are invalid.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; `path` must name an .npz file")
    arrays = _read(path, split)
    x, y = arrays["x"], arrays["y"]
    what = f"`x` of split {split!r} in {path}"
    ids = np.arange(count(n, len(x) if x.ndim else 0, what))
    if len(x) != len(y):
        raise InputError(
            f"{what} has {counted(len(x), 'sample')}, and `y` has {counted(len(y), 'label')}; "
            "store one label per sample"
        )
    x, clip_values = _scaled(_channels_first(x, channels_last, what)[ids], arrays.get("clip_values"), what)
    labels = check_labels(y, name=f"y of split {split!r} in {path}").numpy()
    names = _class_names(arrays, path)
    if labels.min() < 0 or labels.max() >= len(names):
        raise InputError(
            f"`y` of split {split!r} in {path} has labels from {labels.min()} to {labels.max()} for "
            f"{counted(len(names), 'class')}; count classes from 0"
        )
    return Dataset(name="npz", x=x, y=labels[ids], class_names=names, sample_ids=ids, clip_values=clip_values)


def _read(path: Path, split: str) -> dict[str, np.ndarray]:
    # One split as "x" and "y", and the optional entries for classes and range
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it holds one array without a name")
            stored = list(file.files)
            suffix = "" if "x" in stored else f"_{split}"
            wanted = {"x": f"x{suffix}", "y": f"y{suffix}"}
            missing = [name for name in wanted.values() if name not in stored]
            for name in ("y_train", "y_test", "clip_values", "class_names"):
                if name in stored:
                    wanted[name] = name
            arrays = {} if missing else {key: file[name] for key, name in wanted.items()}
    except Exception as error:
        raise InputError(
            f"cannot read {path}: {str(error) or type(error).__name__}. It must be an .npz file of plain "
            "arrays, as numpy.savez writes it; pickled objects are not opened"
        ) from error
    if missing:
        raise InputError(
            f"{path} has no array {' and no '.join(map(repr, missing))}; it has "
            f"{', '.join(stored) or 'none at all'}. Store x and y, or x_train, y_train, x_test and y_test"
        )
    return arrays


def _channels_first(x: np.ndarray, channels_last: bool, what: str) -> np.ndarray:
    shape = x.shape
    if x.ndim == 4 and channels_last:
        return x.transpose(0, 3, 1, 2)
    if x.ndim not in {2, 4} or channels_last:
        expected = "(n, h, w, c)" if channels_last else "(n, c, h, w) or (n, d)"
        hint = "; add the axis of channels: x[:, None]" if x.ndim == 3 and not channels_last else ""
        raise InputError(f"{what} must have shape {expected}, got {shape}{hint}")
    if x.ndim == 4 and shape[1] not in _CHANNELS and shape[3] in _CHANNELS:
        raise InputError(
            f"{what} has shape {shape}, which looks like (n, h, w, c); the channels come first here, "
            "(n, c, h, w): set `channels_last = true` to have them moved"
        )
    return x


def _scaled(x: np.ndarray, clip: np.ndarray | None, what: str) -> tuple[np.ndarray, tuple[float, float]]:
    if x.dtype == np.uint8:
        if clip is not None and clip.tolist() != [0, 1]:
            raise InputError(
                f"{what} is uint8, which is divided by 255, but clip_values is {clip.tolist()}; drop "
                "clip_values, or store floats"
            )
        return np.ascontiguousarray(x, dtype=np.float32) / np.float32(255), (0.0, 1.0)
    if x.dtype.kind != "f":
        raise InputError(f"{what} has type {x.dtype}; store uint8 (0 to 255) or floats")
    clip = np.array([0.0, 1.0]) if clip is None else clip
    if (
        clip.shape != (2,)
        or clip.dtype.kind not in "iuf"
        or not np.isfinite(clip).all()
        or not clip[0] < clip[1]
    ):
        raise InputError(f"clip_values beside {what} must be two numbers [low, high], got {clip.tolist()}")
    low, high = float(clip[0]), float(clip[1])
    if not np.isfinite(x).all():
        raise InputError(f"{what} has NaN or infinite values; remove or repair those samples")
    slack = 1e-6 * (high - low)
    if x.min() < low - slack or x.max() > high + slack:
        raise InputError(
            f"{what} has values from {x.min():g} to {x.max():g}, outside {low:g} to {high:g}; rescale them, "
            "or store an array clip_values = [low, high] with the range that inputs may have"
        )
    return np.ascontiguousarray(x.clip(low, high), dtype=np.float32), (low, high)


def _class_names(arrays: dict[str, np.ndarray], path: Path) -> tuple[str, ...]:
    # The stored names, or a number for each class in the labels of either split
    if "class_names" in arrays:
        return tuple(map(str, arrays["class_names"].tolist()))
    nb_classes = 0
    for key in ("y", "y_train", "y_test"):
        if key in arrays and arrays[key].size:
            columns = arrays[key].shape[1] if arrays[key].ndim == 2 else 1
            highest = int(check_labels(arrays[key], name=f"{key} in {path}").max()) + 1
            nb_classes = max(nb_classes, highest, columns)
    return tuple(map(str, range(nb_classes)))
