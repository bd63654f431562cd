"""Overhead of `FlatnessRegularizer` in a training step of a ResNet-18."""

from __future__ import annotations

import torch
from torch import nn

from art_flat.models import resnet18
from art_flat.regularization import FlatnessRegularizer

from ._harness import Row, Settings, at_most, paired


def measure(settings: Settings) -> list[Row]:
    torch.manual_seed(0)
    model = resnet18().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    n = settings.size(32, 4)
    x, y = torch.rand(n, 3, 32, 32), torch.arange(n) % 10

    def finish(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def plain():
        finish(nn.functional.cross_entropy(model(x), y))

    def flat():
        with FlatnessRegularizer(model, 1e-4) as penalty:
            logits = model(x)
            finish(nn.functional.cross_entropy(logits, y) + penalty(logits))

    what = f"a training step with `FlatnessRegularizer`, ResNet-18, batch {n}"
    return [at_most(what, "the step without it", paired(flat, plain, settings), None)]
