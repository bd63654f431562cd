"""The classifier that is passed to ART's attacks: float32 inputs in [0, 1] and one kind of output.

ART's attacks assume images in [0, 1], channels first, float32 and one kind of output each. The view provides
this for every estimator: inputs are rescaled, cast and reordered, the
preprocessing is included, and outputs are logits or probabilities. The user's estimator is never passed to an attack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_flat.attacks import Problem
from art_flat.attacks.view import Window

Shape = tuple[int, ...]

SHARD = 128
"""Batch size where ART's default is one."""


@dataclass(frozen=True)
class Layout:
    """Layout of the inputs of an attack.

    Attributes:
        shape: Maps art_flat's shape of one sample to the attack's.
        there: Maps art_flat's batch (n, ...) to the attack's.
        back: Maps the attack's batch and art_flat's shape of one sample to art_flat's batch.
        channels_first: The `channels_first` argument that ART gets.
    """

    shape: Callable[[Shape], Shape]
    there: Callable[[torch.Tensor], torch.Tensor]
    back: Callable[[torch.Tensor, Shape], torch.Tensor]
    channels_first: bool = True


CHANNELS_FIRST = Layout(lambda shape: shape, lambda x: x, lambda x, _: x)
"""The layout of the data."""

CHANNELS_LAST = Layout(
    lambda shape: (*shape[1:], shape[0]),
    lambda x: x.movedim(1, -1),
    lambda x, _: x.movedim(-1, 1),
    channels_first=False,
)
"""(n, h, w, c): for attacks that mistake channels for rows."""

COLUMN = Layout(
    lambda shape: (int(np.prod(shape)), 1, 1),
    lambda x: x.reshape(len(x), -1, 1, 1),
    lambda x, shape: x.reshape(len(x), *shape),
)
"""(n, d, 1, 1): for attacks that count features along the first axis."""


class LogitsModule(nn.Module):
    """The model as ART sees it: without its parameters, so that ART can neither move nor change it."""

    def __init__(self, problem: Problem, window: Window, layout: Layout, probabilities: bool) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()), requires_grad=False)  # some attacks look for a device
        self.output = nn.Softmax(dim=1) if probabilities else nn.Identity()
        self._inside = (problem, window, layout)  # in a tuple: not registered as a submodule

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Inputs in ART's layout → logits or probabilities (n, k), float32, on the device of `u`."""
        problem, window, layout = self._inside
        x = layout.back(u, problem.net.input_shape).to(problem.net.device, problem.net.dtype)
        result: torch.Tensor = self.output(problem.module(window.from_unit(x)).float())
        return result.to(u.device)


def classifier(problem: Problem, layout: Layout = CHANNELS_FIRST, *, probabilities: bool = False) -> Any:
    """An ART classifier of the problem's model.

    Args:
        problem: The problem to attack.
        layout: Layout of the inputs.
        probabilities: Return softmax probabilities instead of logits.

    Returns:
        A `PyTorchClassifier` on inputs in [0, 1].
    """
    window, device = Window.from_problem(problem), problem.net.device
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        return PyTorchClassifier(
            model=LogitsModule(problem, window, layout, probabilities),
            loss=nn.CrossEntropyLoss(),
            input_shape=layout.shape(problem.net.input_shape),
            nb_classes=problem.net.nb_classes,
            clip_values=(0.0, 1.0),
            preprocessing=None,
            channels_first=layout.channels_first,
            device_type="gpu" if device.type == "cuda" else "cpu",
        )


def to_view(x: torch.Tensor, window: Window, layout: Layout) -> np.ndarray:
    """A tensor in clip units → ART's float32 array in [0, 1]."""
    return np.ascontiguousarray(layout.there(window.to_unit(x)).float().cpu().numpy())


def from_view(
    u: np.ndarray, clean: np.ndarray, problem: Problem, x: torch.Tensor, layout: Layout
) -> torch.Tensor:
    """ART's points → a tensor in clip units; unchanged inputs stay bit-equal.

    Args:
        u: ART's points.
        clean: The clean points in ART's layout.
        problem: The problem to attack.
        x: The same clean points in clip units.
        layout: Layout of the inputs.

    Returns:
        Points of the shape of `x`.
    """
    window = Window.from_problem(problem)
    tolerance = 1e-6 if problem.norm == "L0" else 0.0  # rescaling inside an attack changes no pixel
    same = torch.from_numpy(np.abs(u - clean) <= tolerance).to(x.device)
    points = torch.from_numpy(np.asarray(u, dtype=np.float64)).to(x.device, x.dtype)
    shape = tuple(x.shape[1:])
    return torch.where(layout.back(same, shape), x, window.from_unit(layout.back(points, shape)))


__all__ = [
    "CHANNELS_FIRST",
    "CHANNELS_LAST",
    "COLUMN",
    "Layout",
    "classifier",
    "from_view",
    "to_view",
]
