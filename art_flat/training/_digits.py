"""A small network for examples, trained in seconds."""

from __future__ import annotations

from torch import nn

from ..datasets import load_dataset
from ..models import digits_cnn
from ._train import train


def trained_digits_cnn(*, epochs: int = 20, seed: int = 0) -> nn.Sequential:
    """`art_flat.models.digits_cnn`, trained on scikit-learn's digits: offline, in seconds on one core.

    Args:
        epochs: Passes over the 1,297 training images.
        seed: Seed of the initial weights and of the training.

    Returns:
        Network from (n, 1, 8, 8), values in [0, 1], to logits (n, 10), in eval mode.

    Raises:
        InputError: If `epochs` is not positive.

    >>> trained_digits_cnn(epochs=1).head.in_features
    64
    """
    data = load_dataset("digits", split="train")
    return train(digits_cnn(seed=seed), data.x, data.y, epochs=epochs, seed=seed)
