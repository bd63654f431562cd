"""The training loop: stochastic gradient descent with momentum and a cosine, from any step on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._utils.random import derive_seed, forked
from ..errors import InputError
from ._adversary import Adversary
from ._art import ArtTrainer
from ._augment import augment
from ._checkpoint import Checkpoint

SAVE_EVERY = 60.0
"""Seconds between two checkpoints, at most (and one step more)."""


class Loop:
    """A training under way."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        *,
        optimizer: torch.optim.SGD,
        epochs: int,
        batch_size: int,
        lr: float,
        warmup: float,
        crop: int,
        flip: bool,
        adversary: Adversary | None,
        channels_last: bool,
        seed: int,
        nb_classes: int,
    ) -> None:
        self.model, self.inputs, self.labels, self.optimizer = model, inputs, labels, optimizer
        weight = optimizer.param_groups[0]["params"][0]
        self.place, self.dtype = weight.device, weight.dtype
        self.lr, self.seed, self.crop, self.flip, self.adversary = lr, seed, crop, flip, adversary
        self.layout = torch.channels_last if channels_last else torch.preserve_format
        self.per_epoch = math.ceil(len(inputs) / batch_size)
        self.total = epochs * self.per_epoch
        self.rise = round(warmup * self.total)
        self.step, self.history = 0, list[dict[str, Any]]()
        self.seen = {"loss": 0.0, "right": 0.0, "seconds": 0.0}  # in the epoch under way
        self.art: ArtTrainer | None = None
        if adversary is not None and adversary.trainer == "art":
            self.art = ArtTrainer(model, optimizer, adversary, tuple(inputs.shape[1:]), nb_classes)

    def run(
        self,
        checkpoint: Checkpoint | None,
        progress: Callable[[int, int, float], None],
        test: tuple[Tensor, Tensor] | None,
        on_epoch: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        """All steps that are left."""
        at_rest = True
        try:
            self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
            if checkpoint is not None:
                self._resume(checkpoint.load(self.model, self.optimizer))
            saved = time.monotonic()
            if len(self.history) < self.step // self.per_epoch:  # cut off between its last step and its end
                self._end_epoch(checkpoint, test, on_epoch)
            with torch.enable_grad():
                while self.step < self.total:
                    epoch, first = divmod(self.step, self.per_epoch)
                    began = time.monotonic() - self.seen["seconds"]
                    for chosen in self._batches(epoch)[first:]:
                        at_rest = False
                        loss, logits, y = self._take_step(chosen)
                        self.step += 1
                        at_rest = True
                        self._add(loss, logits, y, time.monotonic() - began)
                        progress(self.step, self.total, loss)
                        if checkpoint is not None and time.monotonic() - saved > SAVE_EVERY:
                            self._save(checkpoint)
                            saved = time.monotonic()
                    if not math.isfinite(loss):
                        raise InputError(
                            f"the training loss is {loss:g} in epoch {epoch + 1}: training diverged; lower `lr` "
                            f"(now {self.lr:g})"
                        )
                    self._end_epoch(checkpoint, test, on_epoch)
        except KeyboardInterrupt:
            if at_rest and checkpoint is not None:  # a step that was cut short must not be kept
                self._save(checkpoint)
            raise
        finally:
            self.optimizer.zero_grad()
            self.model.eval()
            if self.layout is torch.channels_last:
                self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def _batches(self, epoch: int) -> list[Tensor]:
        with forked(derive_seed(self.seed, "order", epoch)):
            order = torch.randperm(len(self.inputs))
        return list(order.to(self.inputs.device).tensor_split(self.per_epoch))

    def _take_step(self, chosen: Tensor) -> tuple[float, Tensor, Tensor]:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * _schedule(self.step, self.total, self.rise)
        with forked(derive_seed(self.seed, "step", self.step), self.place):
            x = self.inputs[chosen].to(self.place, self.dtype)
            y = self.labels[chosen.to(self.labels.device)].to(self.place)
            if self.crop or self.flip:
                x = augment(x, crop=self.crop, flip=self.flip)
            if self.art is not None:
                loss, logits, y = self.art.step(x, y)
                return float(loss), logits, y
            if self.layout is torch.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            if self.adversary is not None:
                x = self.adversary(self.model, x, y)
            logits = self.model(x)
            loss = nn.functional.cross_entropy(logits, y)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return float(loss.detach()), logits.detach(), y

    def _add(self, loss: float, logits: Tensor, y: Tensor, seconds: float) -> None:
        self.seen["loss"] += loss
        self.seen["right"] += _right(logits, y)
        self.seen["seconds"] = seconds

    def _end_epoch(
        self,
        checkpoint: Checkpoint | None,
        test: tuple[Tensor, Tensor] | None,
        on_epoch: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        row = {
            "epoch": self.step // self.per_epoch,
            "lr": self.lr * _schedule(self.step - 1, self.total, self.rise),
            "loss": self.seen["loss"] / self.per_epoch,
            "accuracy": self.seen["right"] / len(self.inputs),
            "seconds": self.seen["seconds"],
        }
        if test is not None:
            row["test_accuracy"] = self._accuracy(*test)
        self.history.append(row)
        self.seen = dict.fromkeys(self.seen, 0.0)
        if checkpoint is not None:
            self._save(checkpoint)
        on_epoch(self.history)

    def _resume(self, done: dict[str, Any]) -> None:
        if done:
            self.step, self.history, self.seen = done["step"], done["history"], done["seen"]

    def _save(self, checkpoint: Checkpoint) -> None:
        done = {"step": self.step, "history": self.history, "seen": self.seen}
        checkpoint.save(self.model, self.optimizer, done)

    def _accuracy(self, x: Tensor, y: Tensor) -> float:
        self.model.eval()
        right = 0
        with torch.no_grad():
            for part, labels in zip(torch.split(x, 500), torch.split(y, 500), strict=True):
                right += _right(self.model(part.to(self.place, self.dtype)), labels.to(self.place))
        return right / len(y)


def _right(logits: Tensor, y: Tensor) -> int:
    return int((logits.argmax(dim=1) == y).sum())


def _schedule(step: int, total: int, rise: int) -> float:
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / (total - rise)))
