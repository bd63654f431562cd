"""The door to matplotlib, which is optional."""

from __future__ import annotations

from typing import Any


def new_axes(**options: Any) -> tuple[Any, Any]:
    """A figure of its own, with no global state of matplotlib touched, and its axes.

    Args:
        **options: What `Figure.subplots` takes.

    Returns:
        The figure and the axes.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed; says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'plots need matplotlib, which is not installed; pip install "art-flat[plot]"'
        ) from error
    figure = Figure(layout="constrained")
    return figure, figure.subplots(**options)
