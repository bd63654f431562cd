"""The classifier that is passed to ART's attacks: float32 inputs in [0, 1] and one kind of output.

ART's attacks assume images in [0, 1], channels first, float32 and one kind of output each. The view gives all of
them exactly that, for every estimator: inputs are rescaled, cast and reordered on the way in, the
preprocessing is inside, and logits or probabilities come out. The user's estimator is never handed to an attack.
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
"""Samples at once where ART's own default would be one."""


@dataclass(frozen=True)
class Layout:
    """How an attack wants its inputs arranged.

    Attributes:
        shape: From our shape of one sample to the attack's.
        there: From our batch (n, ...) to the attack's.
        back: From the attack's batch and our shape of one sample to our batch.
        channels_first: The `channels_first` argument that ART gets.
    """

    shape: Callable[[Shape], Shape]
    there: Callable[[torch.Tensor], torch.Tensor]
    back: Callable[[torch.Tensor, Shape], torch.Tensor]
    channels_first: bool = True


CHANNELS_FIRST = Layout(lambda shape: shape, lambda x: x, lambda x, _: x)
"""As the data are."""

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
    """What ART sees of the model: no parameter of it, so that ART can neither move nor change it."""

    def __init__(self, problem: Problem, window: Window, layout: Layout, probabilities: bool) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()), requires_grad=False)  # some attacks look for a device
        self.output = nn.Softmax(dim=1) if probabilities else nn.Identity()
        self._inside = (problem, window, layout)  # in a tuple: not registered as a submodule

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Inputs as ART has them → logits or probabilities (n, k), float32, on the device of `u`."""
        problem, window, layout = self._inside
        x = layout.back(u, problem.net.input_shape).to(problem.net.device, problem.net.dtype)
        result: torch.Tensor = self.output(problem.module(window.from_unit(x)).float())
        return result.to(u.device)


def classifier(problem: Problem, layout: Layout = CHANNELS_FIRST, *, probabilities: bool = False) -> Any:
    """An ART classifier of the problem's model.

    Args:
        problem: What is attacked.
        layout: How the inputs are arranged.
        probabilities: Give softmax probabilities instead of logits.

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
    """Our tensor in clip units → ART's float32 array in [0, 1]."""
    return np.ascontiguousarray(layout.there(window.to_unit(x)).float().cpu().numpy())


def from_view(
    u: np.ndarray, clean: np.ndarray, problem: Problem, x: torch.Tensor, layout: Layout
) -> torch.Tensor:
    """ART's points → our tensor in clip units; inputs that were left alone are exactly as they were.

    Args:
        u: ART's points.
        clean: The clean points as ART had them.
        problem: What is attacked.
        x: The same clean points, ours.
        layout: How the inputs are arranged.

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
