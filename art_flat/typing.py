"""Public types: norms, definitions of κ, statuses, arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array: TypeAlias = np.ndarray | torch.Tensor

Norm = Literal["Linf", "L2", "L1", "L0"]
"""A perturbation norm, in its stored form."""

Definition = Literal["paper", "neuronwise", "unsquared"]
"""One of the three definitions of the relative sharpness; see `art_flat.functional.relative_sharpness`."""

Status = Literal["ok", "fallback", "failed", "skipped"]
"""How an attack ended on a sample."""

NORMS: tuple[Norm, ...] = get_args(Norm)
DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
STATUSES: tuple[Status, ...] = get_args(Status)
