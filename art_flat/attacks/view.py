"""The classifier as libraries of torch attacks want it: float32 images in [0, 1], and a device to be found."""

from __future__ import annotations

import torch
from torch import nn

from ._parts import Problem


class UnitView(nn.Module):
    """Images in [0, 1] of the library's shape ↦ logits of the adapted classifier, differentiable.

    Inputs that are no images are shown as images of one channel and one row.

    Args:
        problem: What is attacked.
        widen: Show a one-channel classifier as one of three channels that looks at their mean.
        positive: Add a constant per sample so that all logits are at least 1; probabilities do not change.
    """

    def __init__(self, problem: Problem, *, widen: bool = False, positive: bool = False) -> None:
        super().__init__()
        net, shape = problem.net, problem.net.input_shape
        self.module = problem.module
        self.low, self.span = float(problem.low), float(problem.high) - float(problem.low)
        self.shape = shape
        self.dtype = net.dtype
        self.image = shape if len(shape) == 3 else (1, 1, int(torch.Size(shape).numel()))
        self.widen = widen and self.image[0] == 1
        self.positive = positive
        # libraries look for their device at the first parameter
        self.anchor = nn.Parameter(torch.empty(0, device=net.device), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, k), float32, of images (n, channels, height, width)."""
        inputs = self.narrow(x).reshape(-1, *self.shape).to(self.dtype) * self.span + self.low
        logits: torch.Tensor = self.module(inputs).float()
        if self.positive:
            return logits - logits.detach().amin(dim=1, keepdim=True) + 1
        return logits

    def show(self, x: torch.Tensor) -> torch.Tensor:
        """Return inputs in [0, 1] as the images that the library gets."""
        images = x.float().reshape(-1, *self.image)
        return images.expand(-1, 3, -1, -1).contiguous() if self.widen else images

    def narrow(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean of three channels for one: any ball that holds all three holds it too."""
        return images.mean(dim=1, keepdim=True) if self.widen else images
