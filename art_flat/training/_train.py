"""`train`: validates data and settings, then runs the loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .._utils.formatting import counted
from .._utils.modes import eval_mode, outside_inference_mode
from .._utils.validation import check_inputs, check_labels
from ..errors import InputError
from ._checkpoint import Checkpoint, fingerprint
from ._loop import Callbacks, Loop, Samples
from .settings import TrainingSettings

M = TypeVar("M", bound=nn.Module)


@outside_inference_mode
def train(
    model: M,
    x: Any,
    y: Any,
    *,
    test: tuple[Any, Any] | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    on_epoch: Callable[[list[dict[str, Any]]], None] | None = None,
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> M:
    """Minimise cross-entropy, or a certified bound of it, by SGD with momentum.

    Two calls with the same model, data and settings give the same weights on the same machine, also when one of them
    was interrupted and resumed from its checkpoint: the randomness of a step depends on the seed and the number of
    the step alone. The caller's random state is unchanged.

    Args:
        model: Network from (n, ...) to logits (n, k); changed in place.
        x: Samples (n, ...), numpy or torch; given to the network unchanged.
        y: Labels, indices (n,) or one-hot (n, k).
        test: Samples and labels on which the accuracy is measured after every epoch.
        device: Device of the training, to which the model is moved; the model's device if None.
        progress: Called after every step with the steps done, the total and the loss in nats. An exception that it
            raises ends the training between two steps.
        on_epoch: Called after every epoch with one dict per finished epoch: `epoch`, `lr`, `loss` (mean over the
            steps, nats), `accuracy` (in the training steps), `seconds` and, with `test`, `test_accuracy`.
        checkpoint: A .safetensors file for the state, written at least once an epoch and once a minute, and when the
            training is interrupted; a training found there is resumed. The file stays after the last epoch.
        **settings: Fields of `TrainingSettings`: `epochs`, `lr`, `batch_size`, `weight_decay`, `momentum`,
            `nesterov`, `warmup`, `crop`, `flip`, `adversary`, `certified`, `channels_last`,
            `seed`.

    Returns:
        `model` itself, in eval mode and without gradients.

    Raises:
        InputError: If data or settings are invalid, the model has nothing to train, the loss becomes infinite, or the
            checkpoint belongs to a different training.
        ParameterError: If a setting is unknown.
        UnsupportedLayerError: If `certified` is given and the network has a layer without bounds.

    >>> import numpy as np
    >>> x, y = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), [0, 1]
    >>> model = train(nn.Linear(2, 2), x, y, epochs=20, lr=1.0)
    >>> model(torch.from_numpy(x)).argmax(dim=1)
    tensor([0, 1])
    """
    chosen = TrainingSettings.from_keywords(settings)
    if checkpoint is not None and Path(checkpoint).suffix != ".safetensors":
        raise InputError(f"`checkpoint` must end in .safetensors, got {Path(checkpoint).name!r}")
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise InputError(
            f"{type(model).__name__} has no parameter that requires a gradient; nothing to train"
        )
    model.to(parameters[0].device if device is None else device)
    samples = _checked_samples(model, x, y, chosen)
    tested = None if test is None else _checked_test(test, samples)
    state = None if checkpoint is None else _checkpoint(Path(checkpoint), model, samples, chosen)
    loop = Loop(model, samples, chosen, Callbacks(progress or _ignore, on_epoch or _ignore))
    loop.run(state, tested)
    return model


def _checked_samples(model: nn.Module, x: Any, y: Any, settings: TrainingSettings) -> Samples:
    inputs = check_inputs(x)
    if settings.needs_images and inputs.ndim != 4:
        raise InputError(
            f"`crop`, `flip` and `channels_last` are for images (n, c, h, w), the inputs have shape "
            f"{tuple(inputs.shape)}; leave them out"
        )
    weight = next(p for p in model.parameters() if p.requires_grad)
    if settings.channels_last and weight.device.type == "cpu":
        _check_channels_last(model)
    nb_classes = _nb_classes(model, inputs[:1].to(weight.device, weight.dtype))
    return Samples(inputs, check_labels(y, len(inputs), nb_classes), nb_classes)


def _checked_test(test: tuple[Any, Any], samples: Samples) -> tuple[Tensor, Tensor]:
    x = check_inputs(test[0], input_shape=samples.x.shape[1:], name="test")
    return x, check_labels(test[1], len(x), samples.nb_classes, name="test labels")


def _checkpoint(path: Path, model: nn.Module, samples: Samples, settings: TrainingSettings) -> Checkpoint:
    shapes = (torch.tensor(value.shape) for value in model.state_dict().values())
    identity = {"data": fingerprint(samples.x, samples.y), "network": fingerprint(*shapes)}
    return Checkpoint(path, {**settings.identity(), **identity})


def _check_channels_last(model: nn.Module) -> None:
    """Reject layers for which torch's gradient accesses invalid memory: observed with 2.14 on a CPU with AVX2."""
    for name, part in model.named_modules():
        if not isinstance(part, nn.Conv2d) or set(part.kernel_size) != {1} or part.in_channels >= 8:
            continue
        if max(part.stride) > 1:
            raise InputError(
                f"`channels_last` cannot be used: {name!r} is a 1×1 convolution with stride {part.stride} of "
                f"{counted(part.in_channels, 'channel')}, and with fewer than 8 torch crashes on CPUs; leave it out"
            )


def _ignore(*_: Any) -> None:
    pass


def _nb_classes(model: nn.Module, x: Tensor) -> int:
    with eval_mode(model), torch.no_grad():
        logits = model(x)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise InputError(f"{type(model).__name__} must return logits (n, k); wrap it so that it does")
    return int(logits.shape[1])
