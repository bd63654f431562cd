"""Adversarial training by projected gradient ascent, after Madry et al. (2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._utils.modes import eval_mode
from .._utils.numbers import check_count, check_delta, check_number
from .._utils.validation import check_norm
from ..errors import InputError
from ..functional.ascent import expand, shrink_to_ball, unit_step


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """Perturbs every training sample to increase its loss before the training step.

    The defaults are those of arXiv 2510.14231: L∞, 8/255, 10 steps.

    Attributes:
        delta: Radius of the ball in units of the inputs, or a text such as "8/255".
        norm: `"Linf"` or `"L2"`.
        steps: Gradient steps per sample.
        step: Length of a step in units of the inputs; δ/4 if None.
        random_start: Whether the first step starts from a random point of the ball.
        clip_values: Smallest and largest value of an input.
        trainer: `"pgd"` for the loop of `train`, `"art"` to hand each batch to ART's `AdversarialTrainer`.

    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.

    >>> Adversary(delta="4/255", steps=3).step_size == 1 / 255
    True
    """

    delta: float = 8 / 255
    norm: Literal["Linf", "L2"] = "Linf"
    steps: int = 10
    step: float | None = None
    random_start: bool = True
    clip_values: tuple[float, float] = (0.0, 1.0)
    trainer: Literal["pgd", "art"] = "pgd"

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"delta": check_delta(self.delta), "norm": check_norm(self.norm)}
        if checked["norm"] not in {"Linf", "L2"}:
            raise InputError(f"an adversary in training moves in Linf or L2, got {checked['norm']!r}")
        if self.step is not None:
            checked["step"] = check_delta(self.step)
        checked["steps"] = check_count(self.steps, "steps")
        low, high = (check_number(v, "clip_values", "value of an input") for v in self.clip_values)
        if low >= high:
            raise InputError(f"`clip_values` must be (low, high) with low < high, got {self.clip_values!r}")
        checked["clip_values"] = (low, high)
        if self.trainer not in {"pgd", "art"}:
            raise InputError(f'`trainer` must be "pgd" or "art", got {self.trainer!r}')
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def step_size(self) -> float:
        """Length of one step in units of the inputs."""
        return self.delta / 4 if self.step is None else self.step

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Points of the ball around `x` with a larger loss.

        Args:
            model: Network from (n, ...) to logits (n, k); it is evaluated in eval mode, and its modes are restored.
            x: Samples, shape (n, ...), inside the clip range.
            y: Labels, shape (n,).

        Returns:
            Inputs of the shape of `x`, inside ball and clip range.
        """
        with eval_mode(model):
            point = x + self._start(x) if self.random_start else x.clone()
            point = point.clamp(*self.clip_values)
            for _ in range(self.steps):
                point.requires_grad_()
                loss = nn.functional.cross_entropy(model(point), y, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, point)
                ascended = point.detach() + self.step_size * unit_step(gradient, self.norm)
                shift = ascended.clamp(*self.clip_values) - x
                point = (x + shrink_to_ball(shift, self.delta, self.norm)).clamp(*self.clip_values)
            return point

    def _start(self, x: Tensor) -> Tensor:
        if self.norm == "Linf":
            return torch.empty_like(x).uniform_(-self.delta, self.delta)
        direction = unit_step(torch.randn_like(x), self.norm)
        share = torch.rand(len(x), device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
        return self.delta * direction * expand(share, x)
