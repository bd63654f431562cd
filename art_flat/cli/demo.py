"""The demo: a small CNN on scikit-learn's digits, and the configuration that evaluates it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .config import RunConfig, parse_config

EPOCHS = 30


def demo_config(out: Path, notify: Callable[[str], None]) -> tuple[RunConfig, Path]:
    """Train the model, save its weights beside the results, and return the configuration of the run.

    Args:
        out: Results folder; the weights are written to a folder beside it.
        notify: Called with a message after training.

    Returns:
        The configuration, and the base folder of its paths.
    """
    from ..datasets import load_dataset
    from ..models import digits_cnn, save_weights
    from ..training import train

    folder = out.resolve().parent / f"{out.name}-model"
    weights = folder / "digits_cnn.safetensors"
    if not weights.exists():
        data = load_dataset("digits", split="train")
        net = train(digits_cnn(), data.x, data.y, epochs=EPOCHS, seed=0)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(net, weights)
        notify(f"trained a small CNN on {len(data)} images of digits: {weights}")
    raw = {
        "seed": 0,
        "attacks": "fast",
        "save_adversarial": True,
        "deltas": {"Linf": [0.02, 0.05], "L2": [0.1, 0.2]},
        "epsilons": [0.01, 0.1, 1.0],
        "models": {"digits_cnn": {"factory": "art_flat.models:digits_cnn", "weights": weights.name}},
        "data": {"name": "digits", "n": 150},
    }
    return parse_config(raw), folder
