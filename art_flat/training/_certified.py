"""Certified training by interval bounds, as Gowal et al. (2018) do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._utils.numbers import check_delta, check_number
from ..certification import TrainableGraph, worst_case_loss
from ..errors import InputError


class Ramp(NamedTuple):
    """What a step of certified training minimises."""

    delta: float
    """Radius of the L∞ ball, units of the inputs."""
    clean_weight: float
    """Weight κ of the clean loss; that of the worst case is 1 − κ."""


@dataclass(frozen=True, kw_only=True)
class CertifiedLoss:
    """Training on an upper bound of the loss over the L∞ ball around every sample, found by intervals.

    A step minimises κ·ℓ(x) + (1 − κ)·ℓ̄(x, δ), with ℓ̄ the bound. During the warm-up δ is 0 and κ is 1; both then
    move linearly to their last values and stay there. The bound is that of kind `"interval"` of
    `art_flat.certification`, of the network in evaluation mode. A radius somewhat above the one that certificates
    are wanted for gives better certificates and a lower accuracy.

    Attributes:
        delta: Last radius δ, units of the inputs, or a text such as "8/255".
        clean_weight: Last weight κ of the clean loss, in [0, 1].
        warmup: Share of all steps with the clean loss alone, in [0, 1).
        ramp: Share of all steps over which δ and κ then move, in [0, 1]; the two shares sum to at most 1.
        clip_values: Smallest and largest value of an input.

    Source: Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models",
    arXiv:1810.12715, 2018.

    >>> loss = CertifiedLoss(delta=0.2, warmup=0.25, ramp=0.5)
    >>> loss.at(0.0), loss.at(0.5), loss.at(0.9)
    (Ramp(delta=0.0, clean_weight=1.0), Ramp(delta=0.1, clean_weight=0.75), Ramp(delta=0.2, clean_weight=0.5))
    """

    delta: float = 0.1
    clean_weight: float = 0.5
    warmup: float = 0.05
    ramp: float = 0.5
    clip_values: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"delta": check_delta(self.delta)}
        for name in ("clean_weight", "warmup", "ramp"):
            checked[name] = _share(getattr(self, name), name)
        if checked["warmup"] == 1 or checked["warmup"] + checked["ramp"] > 1:
            raise InputError(
                f"`warmup` and `ramp` are shares of one training, with `warmup` below 1 and a sum of at most 1; "
                f"got {self.warmup:g} and {self.ramp:g}"
            )
        low, high = (check_number(v, "clip_values", "value of an input") for v in self.clip_values)
        if low >= high:
            raise InputError(f"`clip_values` must be (low, high) with low < high, got {self.clip_values!r}")
        checked["clip_values"] = (low, high)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def at(self, done: float) -> Ramp:
        """What the next step minimises.

        Args:
            done: Share of the training's steps that are done, in [0, 1).

        Returns:
            δ and κ.
        """
        ramped = done - self.warmup
        risen = 0.0 if ramped < 0 else min(1.0, ramped / self.ramp) if self.ramp else 1.0
        return Ramp(self.delta * risen, 1 - (1 - self.clean_weight) * risen)


class CertifiedObjective:
    """The mixed loss of a network under training.

    Args:
        model: The network.
        settings: Radius and weights.
        input_shape: Shape of one sample.

    Raises:
        UnsupportedLayerError: If the network has a layer without bounds.
    """

    def __init__(self, model: nn.Module, settings: CertifiedLoss, input_shape: tuple[int, ...]) -> None:
        self.settings = settings
        self._graph = TrainableGraph(model, input_shape)

    def __call__(self, clean: Tensor, x: Tensor, y: Tensor, done: float) -> Tensor:
        """The loss to minimise.

        Args:
            clean: Mean loss at the samples, nats.
            x: Samples, shape (n, ...).
            y: Labels, shape (n,).
            done: Share of the training's steps that are done.

        Returns:
            Mean over the samples, nats; a scalar.
        """
        ramp = self.settings.at(done)
        if ramp.delta == 0 or not bool(torch.isfinite(clean)):
            return clean
        clip = self.settings.clip_values
        worst = worst_case_loss(self._graph.now(), x, y, delta=ramp.delta, clip_values=clip).mean()
        return ramp.clean_weight * clean + (1 - ramp.clean_weight) * worst


def _share(value: Any, name: str) -> float:
    number = check_number(value, name, "share", at_least=0.0)
    if number > 1:
        raise InputError(f"`{name}` must be at most 1, got {number:g}")
    return number
