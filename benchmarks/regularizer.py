"""What FlatnessRegularizer adds to a training step: seconds with and without it, in turn, and their ratio.

python benchmarks/regularizer.py [--batch 32] [--steps 5] [--device cpu]
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time

import torch
from torch import nn

from art_flat.models import resnet18
from art_flat.regularization import FlatnessRegularizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--definition", default="paper")
    options = parser.parse_args()
    model = resnet18().to(options.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = torch.rand(options.batch, 3, 32, 32, device=options.device)
    y = torch.arange(options.batch, device=options.device) % 10

    def step(strength: float | None) -> float:
        wait = torch.cuda.synchronize if x.is_cuda else lambda: None
        wait()
        started = time.perf_counter()
        penalty = (
            FlatnessRegularizer(model, strength, definition=options.definition)
            if strength is not None
            else None
        )
        with penalty or contextlib.nullcontext():
            logits = model(x)
            loss = nn.functional.cross_entropy(logits, y)
            if penalty is not None:
                loss = loss + penalty(logits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        wait()
        return time.perf_counter() - started

    step(None), step(0.0)
    pairs = [(step(None), step(1e-4)) for _ in range(options.steps)]
    plain, flat = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(
        f"batch {options.batch}, {options.device}, {options.definition}: {1000 * plain:.1f} ms plain, ",
        end="",
    )
    print(f"{1000 * flat:.1f} ms with the penalty, median ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
