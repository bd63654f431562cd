"""Training by stochastic gradient descent: what is asked for is checked, then the loop runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .._utils.validation import check_count, check_inputs, check_labels, check_number
from ..errors import InputError
from ._adversary import Adversary
from ._checkpoint import Checkpoint, fingerprint
from ._loop import Loop

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
    momentum: float = 0.9,
    nesterov: bool = True,
    warmup: float = 0.1,
    crop: int = 0,
    flip: bool = False,
    adversary: Adversary | None = None,
    channels_last: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    test: tuple[Any, Any] | None = None,
    on_epoch: Callable[[list[dict[str, Any]]], None] | None = None,
    checkpoint: str | Path | None = None,
) -> M:
    """Minimise cross-entropy by SGD with momentum.

    The learning rate rises in a line over the first steps (`warmup`), then falls as a cosine to 0. Two calls with
    the same model, data and seed give the same weights on the same machine, also when one of them was interrupted
    and went on from its checkpoint: the randomness of a step depends on the seed and its number alone. The caller's
    random state is untouched.

    Args:
        model: Network from (n, ...) to logits (n, k); changed in place.
        x: Samples (n, ...), numpy or torch; given to the network as they are.
        y: Labels, indices (n,) or one-hot (n, k).
        epochs: Passes over the data, at least 1.
        lr: Largest learning rate, > 0.
        batch_size: Samples per step, at most; the samples of an epoch are spread evenly over its steps.
        weight_decay: Factor of the L2 penalty, ≥ 0.
        momentum: Share of the last step that is kept, in [0, 1).
        nesterov: Whether the momentum is Nesterov's.
        warmup: Share of all steps in which the learning rate rises, in [0, 1).
        crop: Images are shifted by up to so many pixels both ways, zeros coming in; 0 for none.
        flip: Whether images are mirrored left to right by chance.
        adversary: What moves the samples of every batch before the network learns from them; None for nothing.
        channels_last: Whether convolutions work on images with the channels last, often faster on CPUs; the model
            is put back as it was.
        seed: Of the order of samples, augmentation, adversary and dropout.
        device: Where to train, the model is moved there; None for where it is.
        progress: Called after every step with steps done, steps in all, and the
            loss in nats. What it raises ends the training between two steps.
        test: Samples and labels on which the accuracy is measured after every epoch.
        on_epoch: Called after every epoch with one dict per finished epoch: `epoch, lr, loss` (mean over the steps,
            nats)`, accuracy` (in the training steps)`, seconds` and, with `test`, `test_accuracy`.
        checkpoint: A .safetensors file that the state is kept in, at least once an epoch and once a minute, and when
            the training is interrupted; a training found there goes on. It stays when all is done.

    Returns:
        `model` itself, in eval mode and without gradients.

    Raises:
        InputError: If data or settings cannot be used, nothing can be trained, the loss becomes infinite, or the
            checkpoint is of another training.
    """
    epochs, batch_size = check_count(epochs, "epochs"), check_count(batch_size, "batch_size")
    lr = check_number(lr, "lr", "learning rate", above=0.0)
    weight_decay = check_number(weight_decay, "weight_decay", "factor of the penalty", at_least=0.0)
    momentum, warmup = _share(momentum, "momentum"), _share(warmup, "warmup")
    crop = check_count(crop, "crop", at_least=0, of="pixels")
    if checkpoint is not None and Path(checkpoint).suffix != ".safetensors":
        raise InputError(f"`checkpoint` must end in .safetensors, got {Path(checkpoint).name!r}")
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise InputError(
            f"{type(model).__name__} has no parameter that requires a gradient; nothing to train"
        )
    model.to(parameters[0].device if device is None else device)
    place, dtype = parameters[0].device, parameters[0].dtype
    inputs = check_inputs(x)
    if (crop or flip or channels_last) and inputs.ndim != 4:
        raise InputError(
            f"`crop`, `flip` and `channels_last` are for images (n, c, h, w), the inputs have shape "
            f"{tuple(inputs.shape)}; leave them out"
        )
    if channels_last and place.type == "cpu":
        _check_channels_last(model)
    nb_classes = _nb_classes(model, inputs[:1].to(place, dtype))
    labels = check_labels(y, len(inputs), nb_classes)
    tested = None
    if test is not None:
        test_x = check_inputs(test[0], input_shape=inputs.shape[1:], name="test")
        tested = test_x, check_labels(test[1], len(test_x), nb_classes, name="test labels")
    settings: dict[str, Any] = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "warmup": warmup, "crop": crop, "flip": flip,
        "seed": seed,
    }  # fmt: skip
    penalties: dict[str, Any] = {
        "momentum": momentum,
        "nesterov": nesterov and momentum > 0,
        "weight_decay": weight_decay,
    }
    loop = Loop(
        model, inputs, labels, optimizer=torch.optim.SGD(parameters, lr=lr, **penalties), adversary=adversary,
        channels_last=channels_last, nb_classes=nb_classes, **settings,
    )  # fmt: skip
    state = None
    if checkpoint is not None:
        shapes = (torch.tensor(value.shape) for value in model.state_dict().values())
        identity = {"data": fingerprint(inputs, labels), "network": fingerprint(*shapes)}
        state = Checkpoint(
            Path(checkpoint), {**settings, **penalties, "adversary": repr(adversary), **identity}
        )
    loop.run(state, progress or _nothing, tested, on_epoch or _nothing)
    return model


def _check_channels_last(model: nn.Module) -> None:
    """Refuse layers whose gradient torch computes outside its memory: seen with 2.14 on a CPU with AVX2."""
    for name, part in model.named_modules():
        if not isinstance(part, nn.Conv2d) or set(part.kernel_size) != {1} or part.in_channels >= 8:
            continue
        if max(part.stride) > 1:
            raise InputError(
                f"`channels_last` cannot be used: {name!r} is a 1×1 convolution with stride {part.stride} of "
                f"{part.in_channels} channels, and with fewer than 8 torch crashes on CPUs; leave it out"
            )


def _share(value: float, name: str) -> float:
    number = check_number(value, name, "share", at_least=0.0)
    if number >= 1:
        raise InputError(f"`{name}` must be below 1, got {number:g}")
    return number


def _nothing(*_: Any) -> None:
    pass


def _nb_classes(model: nn.Module, x: Tensor) -> int:
    modes = [(part, part.training) for part in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            logits = model(x)
    finally:
        for part, mode in modes:
            part.training = mode
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise InputError(f"{type(model).__name__} must return logits (n, k); wrap it so that it does")
    return int(logits.shape[1])
