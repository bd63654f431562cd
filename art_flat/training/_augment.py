"""Random crops and flips of a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def augment(x: Tensor, *, crop: int, flip: bool) -> Tensor:
    """Shift each image by up to `crop` pixels in both directions, padded with zeros, and flip it at random.

    Args:
        x: Images (n, c, h, w).
        crop: Pixels of padding on every side before a window of the original size is cut out; 0 for none.
        flip: Whether half of the images, by chance, are mirrored left to right.

    Returns:
        Images of the same shape; drawn from torch's generator.
    """
    n, channels, height, width = x.shape
    if crop:
        padded = nn.functional.pad(x, (crop,) * 4)
        top, left = torch.randint(2 * crop + 1, (2, n, 1))
        rows = (top + torch.arange(height)).to(x.device)[:, None, :, None]
        columns = (left + torch.arange(width)).to(x.device)[:, None, None, :]
        sample = torch.arange(n, device=x.device)[:, None, None, None]
        x = padded[sample, torch.arange(channels, device=x.device)[None, :, None, None], rows, columns]
    if flip:
        mirrored = (torch.rand(n) < 0.5).to(x.device)
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return x
