"""The demo: a small CNN on scikit-learn's digits, a masked twin of it, and the configuration that evaluates both."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .._utils.formatting import percent, radius_text
from ..errors import ConfigError
from ..records import ALL_ATTACKS
from .config import RunConfig, parse_config

if TYPE_CHECKING:
    from torch import nn

    from ..evaluation import Results

EPOCHS = 20
MODEL, TWIN = "digits_cnn", "masked"
SCALE = 1000.0
"""Factor of the twin's last layer."""

DELTAS = (0.02, 0.04, 0.06)
PLAIN = "art:ProjectedGradientDescent(max_iter=10)"
"""An attack along the gradient of the loss, which underflows where the last layer is scaled."""

_ATTACKS = ("art_flat:PGD(steps=20)", "art_flat:APGD(steps=20)", "art:FastGradientMethod", PLAIN)
_TORCHATTACKS = ("torchattacks:PGD(steps=10)", "torchattacks:APGD(steps=10)")


def demo_config(out: Path, notify: Callable[[str], None]) -> tuple[RunConfig, Path]:
    """Train the model, save its and its twin's weights beside the results, and return the configuration of the run.

    Args:
        out: Results folder; the weights are written to a folder beside it.
        notify: Called with a message after training.

    Returns:
        The configuration, and the base folder of its paths.

    Raises:
        ConfigError: If the weights cannot be written.
    """
    folder = out.resolve().parent / f"{out.name}-model"
    files = {name: f"{name}.safetensors" for name in (MODEL, TWIN)}
    if not all((folder / file).exists() for file in files.values()):
        _write_weights(folder, files)
        notify(
            f"trained a small CNN on digits; {TWIN} is the same with its last layer times {SCALE:g}: {folder}"
        )
    raw = {
        "seed": 0,
        "attacks": [*_ATTACKS, *(_TORCHATTACKS if importlib.util.find_spec("torchattacks") else ())],
        "save_adversarial": True,
        "deltas": {"Linf": list(DELTAS)},
        "epsilons": [0.01, 0.1, 1.0],
        "models": {
            name: {"factory": "art_flat.models:digits_cnn", "weights": file} for name, file in files.items()
        },
        "data": {"name": "digits", "n": 100},
    }
    return parse_config(raw), folder


def _write_weights(folder: Path, files: dict[str, str]) -> None:
    from ..models import save_weights
    from ..training import trained_digits_cnn

    net = trained_digits_cnn(epochs=EPOCHS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(net, folder / files[MODEL])
        save_weights(_masked(net), folder / files[TWIN])
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from None


def _masked(net: nn.Sequential) -> nn.Sequential:
    """The net with its last layer multiplied: every prediction stays, every loss and gradient changes."""
    import torch

    with torch.no_grad():
        for parameter in net[-1].parameters():
            parameter.mul_(SCALE)
    return net


def closing_lines(results: Results) -> list[str]:
    """What the demo shows, with its numbers, and the command for the reader's own model.

    Args:
        results: The run of `demo_config`.

    Returns:
        The lines.
    """
    delta = DELTAS[-1]
    rows = results.summary()
    at = rows[rows["delta"] == delta].set_index(["model", "attack"])["robust_accuracy"]
    plain, real = (percent(at[TWIN, attack]) for attack in (PLAIN, ALL_ATTACKS))
    return [
        f"{TWIN} makes the same predictions as {MODEL}, so it is exactly as robust. At δ = {radius_text(delta)}, "
        f"{PLAIN} leaves {plain} because gradients are zero, and all attacks together leave {real}; the findings name "
        "the cause, and no certificate exceeds it.",
        "your own model: art-flat init --model package.module:make, then art-flat check config.toml",
    ]
