"""Figure of samples: clean, adversarial and difference images."""

from __future__ import annotations

from typing import Any

from ..._utils.formatting import ball_text
from ..._utils.validation import check_keywords
from ...errors import InputError, StoreError, UnknownNameError
from ...records import Records
from ...summaries import select
from ...typing import Definition
from .._gallery import KINDS, gallery
from .._images import showable, triples
from .._look import new_figure
from ._choose import choose_cell


@check_keywords
def plot_samples(
    results: Records,
    *,
    kind: str = "loss",
    n: int = 6,
    model: str | None = None,
    norm: Any = None,
    delta: float | None = None,
    definition: Definition = "paper",
) -> Any:
    """The most extreme samples as images: clean, adversarial, difference amplified by a stated factor.

    Args:
        results: A run that kept its points, on images.
        kind: `"loss"`: largest loss increase; `"flat"`: flattest misclassified points; `"fragile"`: nearest ones.
        n: Number of samples.
        model: Name of the model; optional if there is only one.
        norm: Norm; the first of the run if None.
        delta: Radius in clip units; the largest of the run in that norm if None.
        definition: Definition of the relative sharpness κ.

    Returns:
        A matplotlib `Figure`.

    Raises:
        InputError: If the run has no such model, norm or radius, or no sample of this kind.
        StoreError: If the points were not saved, or are not images.
        UnknownNameError: If `kind` is unknown.

    >>> from art_flat.testing import example_results
    >>> figure = plot_samples(example_results(), n=2)
    >>> [axes.get_ylabel() for axes in figure.axes[::2]]
    ['clean', 'adversarial', 'difference']
    """
    if kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    reason = showable(results)
    if reason is not None:
        raise StoreError(reason)
    model, norm, delta = choose_cell(results, model, norm, delta)
    rows = gallery(select(results, model, definition), norm, delta, n)[kind]
    if rows.empty:
        raise InputError(f"no sample has such a point at {ball_text(norm, delta)}")
    figure, axes = new_figure(1.3 * len(rows), 4.4, nrows=3, ncols=len(rows), squeeze=False)
    shown = zip(rows.to_dict("records"), triples(results, model, rows), axes.T, strict=True)
    for row, images, (top, middle, bottom) in shown:
        for one, pixels in ((top, images.clean), (middle, images.adversarial), (bottom, images.difference)):
            one.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            one.set(xticks=[], yticks=[])
            one.grid(visible=False)
            one.spines[:].set_visible(False)
        top.set_title(f"{row['label']} as {row['pred_clean']}", fontsize="small")
        middle.set_title(f"as {row['pred_adv']}, Δℓ {row['loss_change']:.3g}", fontsize="small")
        bottom.set_title(f"× {images.factor}", fontsize="small")
    for one, label in zip(axes[:, 0], ("clean", "adversarial", "difference"), strict=True):
        one.set_ylabel(label)
    figure.suptitle(f"{KINDS[kind]}\n{model}, {ball_text(norm, delta)}, Δℓ in nats", fontsize="medium")
    return figure
