"""Points as images: which can be shown, and their clean, adversarial and difference images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..records import Records

GRADES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Triple(NamedTuple):
    """The images of one adversarial point, uint8 of shape (h, w) or (h, w, 3)."""

    clean: np.ndarray
    adversarial: np.ndarray
    difference: np.ndarray
    """Grey means unchanged; see `factor`."""
    factor: int
    """Factor by which the difference is amplified."""


def image_layout(shape: tuple[int, ...]) -> str | None:
    """Layout of samples of a shape: `"hw"`, `"chw"` or `"hwc"`; None if they are not images."""
    if len(shape) == 2:
        return "hw"
    if len(shape) == 3 and shape[0] in (1, 3):
        return "chw"
    if len(shape) == 3 and shape[2] in (1, 3):
        return "hwc"
    return None


def triples(results: Records, model: str, chosen: pd.DataFrame, most: int | None = None) -> list[Triple]:
    """The images of some points.

    Args:
        results: A run that kept its points, on images.
        model: The model, whose clip range decides what is black and what is white.
        chosen: Rows of `Selection.table`.
        most: Longest side in pixels; larger images are reduced by whole factors.

    Returns:
        One triple per row.
    """
    if not len(chosen):
        return []
    row = results.models.set_index("model").loc[model]
    clean = np.asarray(results.clean_points(chosen["sample"].to_numpy()), np.float64)
    adversarial = np.asarray(results.adversarial_points(results.adversarial.iloc[chosen["row"]]), np.float64)
    low, high = (float(row[c]) for c in ("clip_low", "clip_high"))
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        low, high = float(min(clean.min(), adversarial.min())), float(max(clean.max(), adversarial.max()))
    span = high - low if high > low else 1.0
    return [
        _triple((a - low) / span, (b - low) / span, most) for a, b in zip(clean, adversarial, strict=True)
    ]


def _triple(clean: np.ndarray, adversarial: np.ndarray, most: int | None) -> Triple:
    clean, adversarial = (_reduced(_upright(v), most) for v in (clean, adversarial))
    change = adversarial - clean
    largest = float(np.abs(change).max())
    fitting = [g for g in GRADES if g * largest <= 0.5]
    factor = fitting[-1] if fitting else 1
    return Triple(_pixels(clean), _pixels(adversarial), _pixels(0.5 + factor * change), factor)


def _upright(value: np.ndarray) -> np.ndarray:
    if image_layout(value.shape) == "chw":
        value = np.moveaxis(value, 0, -1)
    return value[..., 0] if value.ndim == 3 and value.shape[2] == 1 else value


def _reduced(value: np.ndarray, most: int | None) -> np.ndarray:
    """Means over blocks of pixels, so that no side is longer than `most`."""
    step = 1 if most is None else int(np.ceil(max(value.shape[:2]) / most))
    if step == 1:
        return value
    rows, columns = (size // step for size in value.shape[:2])
    cut = value[: rows * step, : columns * step]
    return np.asarray(cut.reshape(rows, step, columns, step, *value.shape[2:]).mean(axis=(1, 3)))


def _pixels(value: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(255 * np.clip(value, 0, 1)), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """An image as a PNG file."""
    import io

    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, format="PNG", optimize=True)
    return sink.getvalue()


def showable(results: Records) -> str | None:
    """Why no images can be shown; None if they can."""
    if not results.has_points:
        return (
            "The points of this run were not saved. Run it again with save_adversarial = true in the configuration, or "
            "evaluate(..., save_adversarial=True), and make the report again."
        )
    shape = _sample_shape(results)
    if shape is None or image_layout(shape) is None:
        return f"The samples are not images: their shape is {shape}."
    return None


def _sample_shape(results: Records) -> Any:
    if results.clean.empty:
        return None
    return results.clean_points([int(results.clean["sample"].iloc[0])]).shape[1:]
