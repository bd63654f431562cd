"""Adversarial training by ART: its attack, its trainer and its classifier, one batch at a time."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._adversary import Adversary


class _RecordingLoss(nn.CrossEntropyLoss):
    """Cross-entropy that stores its last arguments, those of the training step of a batch."""

    last: tuple[Tensor, Tensor, Tensor]

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        loss = super().forward(input, target)
        self.last = loss.detach(), input.detach(), target.detach()
        return loss


class ArtTrainer:
    """`art.defences.trainer.AdversarialTrainer` with PGD on every sample, called batch by batch.

    Args:
        model: Network of logits.
        optimizer: Its optimiser, whose learning rate may change between two batches.
        adversary: The ball and the steps.
        input_shape: Shape of one sample.
        nb_classes: Number k of classes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        adversary: Adversary,
        input_shape: tuple[int, ...],
        nb_classes: int,
    ) -> None:
        from art.attacks.evasion import ProjectedGradientDescentPyTorch
        from art.defences.trainer import AdversarialTrainer
        from art.estimators.classification import PyTorchClassifier

        device = next(model.parameters()).device
        self.loss = _RecordingLoss()
        with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
            classifier = PyTorchClassifier(
                model=model,
                loss=self.loss,
                optimizer=optimizer,
                input_shape=input_shape,
                nb_classes=nb_classes,
                clip_values=adversary.clip_values,
                device_type="gpu" if device.type == "cuda" else "cpu",
            )
        attack = ProjectedGradientDescentPyTorch(
            classifier,
            norm=np.inf if adversary.norm == "Linf" else 2,
            eps=adversary.delta,
            eps_step=adversary.step_size,
            max_iter=adversary.steps,
            num_random_init=int(adversary.random_start),
            verbose=False,
        )
        self.trainer: Any = AdversarialTrainer(classifier, attack, ratio=1.0)
        self.attack, self.nb_classes = attack, nb_classes

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the optimiser on adversarial points of a batch.

        Args:
            x: Samples (n, ...).
            y: Labels (n,).

        Returns:
            The loss in nats, the logits (n, k) and the labels (n,) in ART's order of the batch.
        """
        self.attack.set_params(batch_size=len(x))
        one_hot = nn.functional.one_hot(y, self.nb_classes).float().cpu().numpy()
        with contextlib.redirect_stderr(io.StringIO()):  # two progress bars per batch
            self.trainer.fit(x.cpu().numpy(), one_hot, batch_size=len(x), nb_epochs=1)
        return self.loss.last
