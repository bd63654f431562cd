"""Images embedded in the report page, as many as its size limit allows."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pandas as pd

from ..errors import StoreError
from ..records import Records
from ._clouds import ScatterData
from ._images import png, showable, triples

MOST_IMAGES = 400
"""Maximum number of adversarial points shown as images."""
MOST_BYTES = 2_500_000
"""Maximum size of all images of a page together."""
LONGEST_SIDE = 96
"""Maximum side length in pixels; larger images are reduced by whole factors."""
_AT_ONCE = 40


def embed(results: Records, clouds: ScatterData, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Images of the gallery, then of points of the clouds, until the page is full.

    Args:
        results: The run.
        clouds: Scatter data of the page.
        cells: Cells of the page, whose points get images.

    Returns:
        `points`: row → `[adversarial, difference, factor]`; `clean`: `"model:sample"` → image, all as data URIs;
        `n`: number of points; `reason`: why there are no images, or null.
    """
    reason = showable(results)
    embedded: dict[str, Any] = {"points": {}, "clean": {}, "n": 0, "reason": reason}
    if reason is not None:
        return embedded
    size = 0
    names = [str(m) for m in results.models["model"]]
    for model, rows in _batches(clouds, cells):
        chosen = _chosen(results, rows)
        try:
            images = triples(results, names[model], chosen, LONGEST_SIDE)
        except StoreError:  # a unit whose points are missing: its numbers are shown alone
            continue
        for row, sample, triple in zip(chosen["row"], chosen["sample"], images, strict=True):
            if size > MOST_BYTES or embedded["n"] >= MOST_IMAGES:
                return embedded
            image_key = f"{model}:{sample}"
            if image_key not in embedded["clean"]:
                embedded["clean"][image_key] = _uri(triple.clean)
                size += len(embedded["clean"][image_key])
            uris = [_uri(triple.adversarial), _uri(triple.difference)]
            embedded["points"][str(row)] = [*uris, triple.factor]
            embedded["n"] += 1
            size += sum(map(len, uris))
    return embedded


def _batches(clouds: ScatterData, cells: list[dict[str, Any]]) -> Iterator[tuple[int, list[int]]]:
    """Model and rows in batches: the galleries, then the worst points of the cells in turn."""
    seen: set[int] = set()

    def fresh(rows: list[int]) -> list[int]:
        new = [r for r in dict.fromkeys(rows) if r not in seen]
        seen.update(new)
        return new

    for model, shown in enumerate(clouds.rows):
        rows = fresh(list(shown))
        for start in range(0, len(rows), _AT_ONCE):
            yield model, rows[start : start + _AT_ONCE]
    each = max(1, MOST_IMAGES // max(len(cells), 1))
    for cell in cells:
        rows = fresh(cell["clouds"][0]["points"]["row"][:each])
        if rows:
            yield cell["model"], rows


def _chosen(results: Records, rows: list[int]) -> pd.DataFrame:
    samples = results.adversarial["sample"].iloc[rows].astype(int)
    return pd.DataFrame({"row": rows, "sample": samples.to_numpy()})


def _uri(pixels: Any) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
