"""Training of networks: plain stochastic gradient descent, enough for digits and MNIST."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from ._checks import check_inputs, check_labels, check_number
from ._errors import InputError
from ._random import forked

M = TypeVar("M", bound=nn.Module)


def train(
    model: M,
    x: Any,
    y: Any,
    *,
    epochs: int,
    lr: float = 0.1,
    batch_size: int = 128,
    weight_decay: float = 5e-4,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> M:
    """Minimise cross-entropy by SGD with Nesterov momentum 0.9.

    The learning rate rises in a line over the first tenth of the steps, then falls as a cosine to 0.
    Two calls with the same model, data and seed give the same weights on the same machine. The caller's
    random state is untouched.

    Args:
        model: Network from (n, ...) to logits (n, k); changed in place.
        x: Samples (n, ...), numpy or torch; given to the network as they are.
        y: Labels, indices (n,) or one-hot (n, k).
        epochs: Passes over the data, at least 1.
        lr: Largest learning rate, > 0.
        batch_size: Samples per step, at most; the samples of an epoch are spread evenly over its steps.
        weight_decay: Factor of the L2 penalty, ≥ 0.
        seed: Of the order of samples and of dropout.
        device: Where to train, the model is moved there; None for where it is.
        progress: Called after every step with steps done, steps in all, and the loss in nats.

    Returns:
        `model` itself, in eval mode and without gradients.

    Raises:
        InputError: If data or settings cannot be used, nothing can be trained, or the loss becomes infinite.
    """
    for name, count in (("epochs", epochs), ("batch_size", batch_size)):
        if int(count) != count or count < 1:
            raise InputError(f"`{name}` must be a whole number of at least 1, got {count!r}")
    lr = check_number(lr, "lr", "learning rate", above=0.0)
    weight_decay = check_number(weight_decay, "weight_decay", "factor of the penalty", at_least=0.0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise InputError(
            f"{type(model).__name__} has no parameter that requires a gradient; nothing to train"
        )
    model.to(parameters[0].device if device is None else device)
    place, dtype = parameters[0].device, parameters[0].dtype
    inputs = check_inputs(x)
    labels = check_labels(y, len(inputs), _nb_classes(model, inputs[:1].to(place, dtype)))

    steps_per_epoch = math.ceil(len(inputs) / batch_size)
    total = epochs * steps_per_epoch
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    step = 0
    try:
        with forked(seed, place), torch.enable_grad():
            model.train()
            for epoch in range(epochs):
                order = torch.randperm(len(inputs)).to(inputs.device)
                for indices in order.tensor_split(steps_per_epoch):
                    for group in optimizer.param_groups:
                        group["lr"] = lr * _schedule(step, total)
                    logits = model(inputs[indices].to(place, dtype))
                    loss = nn.functional.cross_entropy(logits, labels[indices.to(labels.device)].to(place))
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    step += 1
                    if progress is not None:
                        progress(step, total, float(loss.detach()))
                if not math.isfinite(last := float(loss.detach())):
                    raise InputError(
                        f"the training loss is {last:g} in epoch {epoch + 1}: training diverged; lower `lr` "
                        f"(now {lr:g})"
                    )
    finally:
        optimizer.zero_grad()
        model.eval()
    return model


def _schedule(step: int, total: int) -> float:
    rise = max(1, total // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise + 1) / (total - rise + 1)))


def _nb_classes(model: nn.Module, x: torch.Tensor) -> int:
    modes = [(part, part.training) for part in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            logits = model(x)
    finally:
        for part, mode in modes:
            part.training = mode
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise InputError(f"{type(model).__name__} must return logits (n, k); wrap it so that it does")
    return int(logits.shape[1])
