"""The training loop: stochastic gradient descent with momentum and a cosine schedule, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._utils.random import derive_seed, seeded_rng
from ..errors import InputError
from ._art import ArtTrainer
from ._augment import augment
from ._certified import CertifiedObjective
from ._checkpoint import Checkpoint
from .settings import TrainingSettings

SAVE_EVERY = 60.0
"""Maximum time between two checkpoints, in addition to one step."""


class Samples(NamedTuple):
    """The training samples."""

    x: Tensor
    """Shape (n, ...)."""
    y: Tensor
    """Labels, int64 (n,)."""
    nb_classes: int


class Callbacks(NamedTuple):
    """Callbacks of the loop; see `train`."""

    progress: Callable[[int, int, float], None]
    on_epoch: Callable[[list[dict[str, Any]]], None]


class Loop:
    """The state of a training.

    Args:
        model: Network of logits.
        samples: The training samples.
        settings: The settings.
        callbacks: Callbacks after every step and every epoch.
    """

    def __init__(
        self, model: nn.Module, samples: Samples, settings: TrainingSettings, callbacks: Callbacks
    ) -> None:
        self.model, self.samples, self.settings, self.callbacks = model, samples, settings, callbacks
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(
            parameters,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
            weight_decay=settings.weight_decay,
        )
        self.device, self.dtype = parameters[0].device, parameters[0].dtype
        self.steps_per_epoch = math.ceil(len(samples.x) / settings.batch_size)
        self.n_steps = settings.epochs * self.steps_per_epoch
        self.n_warmup = round(settings.warmup * self.n_steps)
        self.step, self.history = 0, list[dict[str, Any]]()
        self.is_in_step = False
        self.sums = {"loss": 0.0, "right": 0.0, "seconds": 0.0}  # of the current epoch
        self.art: ArtTrainer | None = None
        self.certified: CertifiedObjective | None = None
        adversary, shape = settings.adversary, tuple(samples.x.shape[1:])
        if settings.certified is not None:
            self.certified = CertifiedObjective(model, settings.certified, shape)
        if adversary is not None and adversary.trainer == "art":
            self.art = ArtTrainer(model, self.optimizer, adversary, shape, samples.nb_classes)

    def run(self, checkpoint: Checkpoint | None, test: tuple[Tensor, Tensor] | None) -> None:
        """Run all remaining steps."""
        try:
            if self.settings.channels_last:
                self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if checkpoint is not None:
                self._resume(checkpoint.load(self.model, self.optimizer))
            if (
                len(self.history) < self.step // self.steps_per_epoch
            ):  # stopped between its last step and its end
                self._end_epoch(checkpoint, test)
            with torch.enable_grad():
                while self.step < self.n_steps:
                    self._run_epoch(checkpoint)
                    self._end_epoch(checkpoint, test)
        except KeyboardInterrupt:
            if checkpoint is not None and not self.is_in_step:  # an interrupted step must not be saved
                self._save(checkpoint)
            raise
        finally:
            self.optimizer.zero_grad()
            self.model.eval()
            if self.settings.channels_last:
                self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def _run_epoch(self, checkpoint: Checkpoint | None) -> None:
        epoch, first = divmod(self.step, self.steps_per_epoch)
        saved, began = time.monotonic(), time.monotonic() - self.sums["seconds"]
        loss = math.nan
        for chosen in self._batches(epoch)[first:]:
            self.is_in_step = True
            loss, logits, y = self._take_step(chosen)
            self.step += 1
            self.is_in_step = False
            self._add(loss, logits, y, time.monotonic() - began)
            self.callbacks.progress(self.step, self.n_steps, loss)
            if checkpoint is not None and time.monotonic() - saved > SAVE_EVERY:
                self._save(checkpoint)
                saved = time.monotonic()
        if not math.isfinite(loss):
            raise InputError(
                f"the training loss is {loss:g} in epoch {epoch + 1}: training diverged; lower `lr` "
                f"(now {self.settings.lr:g})"
            )

    def _batches(self, epoch: int) -> list[Tensor]:
        with seeded_rng(derive_seed(self.settings.seed, "order", epoch)):
            order = torch.randperm(len(self.samples.x))
        return list(order.to(self.samples.x.device).tensor_split(self.steps_per_epoch))

    def _take_step(self, chosen: Tensor) -> tuple[float, Tensor, Tensor]:
        settings, samples = self.settings, self.samples
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * _schedule(self.step, self.n_steps, self.n_warmup)
        with seeded_rng(derive_seed(settings.seed, "step", self.step), self.device):
            x = samples.x[chosen].to(self.device, self.dtype)
            y = samples.y[chosen.to(samples.y.device)].to(self.device)
            if settings.crop or settings.flip:
                x = augment(x, crop=settings.crop, flip=settings.flip)
            if self.art is not None:
                loss, logits, y = self.art.step(x, y)
                return float(loss), logits, y
            if settings.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            if settings.adversary is not None:
                x = settings.adversary(self.model, x, y)
            logits = self.model(x)
            loss = nn.functional.cross_entropy(logits, y)
            if self.certified is not None:
                loss = self.certified(loss, x, y, self.step / self.n_steps)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return float(loss.detach()), logits.detach(), y

    def _add(self, loss: float, logits: Tensor, y: Tensor, seconds: float) -> None:
        self.sums["loss"] += loss
        self.sums["right"] += _right(logits, y)
        self.sums["seconds"] = seconds

    def _end_epoch(self, checkpoint: Checkpoint | None, test: tuple[Tensor, Tensor] | None) -> None:
        row = {
            "epoch": self.step // self.steps_per_epoch,
            "lr": self.settings.lr * _schedule(self.step - 1, self.n_steps, self.n_warmup),
            "loss": self.sums["loss"] / self.steps_per_epoch,
            "accuracy": self.sums["right"] / len(self.samples.x),
            "seconds": self.sums["seconds"],
        }
        if test is not None:
            row["test_accuracy"] = self._accuracy(*test)
        self.history.append(row)
        self.sums = dict.fromkeys(self.sums, 0.0)
        if checkpoint is not None:
            self._save(checkpoint)
        self.callbacks.on_epoch(self.history)

    def _resume(self, done: dict[str, Any]) -> None:
        if done:
            self.step, self.history, self.sums = done["step"], done["history"], done["seen"]

    def _save(self, checkpoint: Checkpoint) -> None:
        done = {"step": self.step, "history": self.history, "seen": self.sums}
        checkpoint.save(self.model, self.optimizer, done)

    def _accuracy(self, x: Tensor, y: Tensor) -> float:
        self.model.eval()
        right = 0
        with torch.no_grad():
            for part, labels in zip(torch.split(x, 500), torch.split(y, 500), strict=True):
                right += _right(self.model(part.to(self.device, self.dtype)), labels.to(self.device))
        return right / len(y)


def _right(logits: Tensor, y: Tensor) -> int:
    return int((logits.argmax(dim=1) == y).sum())


def _schedule(step: int, total: int, rise: int) -> float:
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / (total - rise)))
