"""Target classes of a targeted evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from .._utils.formatting import counted
from .._utils.hashing import content_hash
from .._utils.validation import check_labels
from ..errors import InputError

TargetRule = Literal["least-likely", "next"]
"""Rules that derive targets from the labels and the model."""
TARGET_RULES: tuple[TargetRule, ...] = get_args(TargetRule)


@dataclass(frozen=True)
class Targets:
    """The target class of every sample of a run.

    Attributes:
        rule: One of `TARGET_RULES`, or `"given"`.
        classes: Given target classes, int64 (n,), or None.
    """

    rule: str
    classes: np.ndarray | None = None

    def of(self, rows: slice, labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The targets of some samples.

        Args:
            rows: Positions of the samples in the data.
            labels: Their true labels, int64 (m,).
            logits: Clean logits of the attacked model, shape (m, k).

        Returns:
            Classes, int64 (m,), on the device of `labels`; never the label itself.
        """
        if self.classes is not None:
            return torch.from_numpy(np.array(self.classes[rows])).to(labels.device)
        if self.rule == "next":
            return (labels + 1) % logits.shape[1]
        return least_likely(logits, labels)

    def key(self, rows: slice) -> str:
        """Everything except model and data that determines the targets of some samples."""
        return self.rule if self.classes is None else content_hash(self.classes[rows])

    def as_config(self) -> str | list[int]:
        """The targets as stored in `config.toml`."""
        return self.rule if self.classes is None else [int(c) for c in self.classes]


def least_likely(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The class with the smallest logit among all but the label; the first of them on a tie.

    Args:
        logits: Shape (n, k), k ≥ 2; NaN is never the smallest.
        labels: True labels, int64 (n,).

    Returns:
        Classes, int64 (n,), on the device of `labels`.

    >>> least_likely(torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([1]))
    tensor([2])
    """
    masked = logits.detach().double().nan_to_num(nan=torch.inf, posinf=torch.finfo(torch.float64).max)
    return masked.scatter(1, labels.to(logits.device)[:, None], torch.inf).argmin(dim=1).to(labels.device)


def check_targets(target: Any, labels: np.ndarray, nb_classes: int) -> Targets | None:
    """The targets from the argument of `evaluate`.

    Args:
        target: None, one of `TARGET_RULES` (as `Settings` checked), or classes, indices (n,) or one-hot (n, k).
        labels: True labels, int64 (n,).
        nb_classes: The smallest number k of classes of the models.

    Returns:
        The targets; None for an untargeted run.

    Raises:
        InputError: If classes are out of range, their count is wrong, or one is the sample's own label.
    """
    if target is None:
        return None
    if isinstance(target, str):
        return Targets(target)
    classes = check_labels(target, len(labels), nb_classes, "target").cpu().numpy()
    same = np.flatnonzero(classes == labels)
    if same.size:
        raise InputError(
            f"`target` is the true label of {same.size} of {counted(len(labels), 'sample')} (the "
            f"first at position {same[0]}); "
            "a target must be another class. Leave those samples out"
        )
    return Targets("given", classes)
