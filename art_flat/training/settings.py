"""`TrainingSettings`: everything that determines a training except the model and the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from .._utils.numbers import check_count, check_number, check_seed
from ..errors import InputError, ParameterError, closest
from ._adversary import Adversary
from ._certified import CertifiedLoss


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of SGD with momentum and a learning rate with linear warmup and cosine decay.

    `train` takes the same names as keywords, `[training]` of a configuration file too; these are the only defaults.

    Attributes:
        epochs: Passes over the data, at least 1.
        lr: Largest learning rate, > 0.
        batch_size: Samples per step, at most; the samples of an epoch are spread evenly over its steps.
        weight_decay: Factor of the L2 penalty, ≥ 0.
        momentum: Momentum factor, in [0, 1).
        nesterov: Whether the momentum is Nesterov's.
        warmup: Share of all steps in which the learning rate rises, in [0, 1).
        crop: Images are shifted by up to this many pixels in both directions, padded with zeros; 0 for none.
        flip: Whether images are mirrored horizontally at random.
        adversary: Perturbs the samples of every batch before the network learns from them; None for clean training.
        certified: An upper bound of the loss over balls around the samples to learn from; None for the loss itself.
        channels_last: Whether convolutions use the channels-last memory format, often faster on CPUs; the model's
            format is restored afterwards.
        seed: Seed for the order of samples, augmentation, adversary and dropout.

    Raises:
        InputError: If a value is out of range, or both `adversary` and `certified` are given.

    >>> TrainingSettings(epochs=3).momentum
    0.9
    """

    epochs: int = 100
    lr: float = 0.1
    batch_size: int = 128
    weight_decay: float = 5e-4
    momentum: float = 0.9
    nesterov: bool = True
    warmup: float = 0.1
    crop: int = 0
    flip: bool = False
    adversary: Adversary | None = None
    certified: CertifiedLoss | None = None
    channels_last: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.adversary is not None and self.certified is not None:
            raise InputError("`adversary` and `certified` are two ways of training; choose one")
        checked: dict[str, Any] = {
            "seed": check_seed(self.seed),
            "epochs": check_count(self.epochs, "epochs"),
            "batch_size": check_count(self.batch_size, "batch_size"),
            "crop": check_count(self.crop, "crop", at_least=0, of="pixels"),
            "lr": check_number(self.lr, "lr", "learning rate", above=0.0),
            "weight_decay": check_number(self.weight_decay, "weight_decay", "penalty", at_least=0.0),
            "momentum": _share(self.momentum, "momentum"),
            "warmup": _share(self.warmup, "warmup"),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_keywords(cls, keywords: dict[str, Any]) -> TrainingSettings:
        """The settings from keywords, with defaults for the rest.

        Args:
            keywords: Field → value.

        Returns:
            The settings.

        Raises:
            ParameterError: If a setting is unknown; the message names the closest one.
        """
        names = [field.name for field in fields(cls)]
        for name in keywords.keys() - set(names):
            hint = " or ".join(map(repr, closest(name, names))) or ", ".join(names)
            raise ParameterError(f"train() has no parameter {name!r}; did you mean {hint}?")
        return cls(**keywords)

    @property
    def needs_images(self) -> bool:
        """Whether the settings only make sense for inputs of shape (n, c, h, w)."""
        return bool(self.crop or self.flip or self.channels_last)

    def identity(self) -> dict[str, Any]:
        """Everything in it that determines the weights, as JSON values."""
        values = asdict(self) | {
            "adversary": repr(self.adversary),
            "certified": None if self.certified is None else repr(self.certified),
            "nesterov": self.nesterov and self.momentum > 0,
        }
        return {k: v for k, v in values.items() if k != "channels_last"}


def _share(value: Any, name: str) -> float:
    number = check_number(value, name, "share", at_least=0.0)
    if number >= 1:
        raise InputError(f"`{name}` must be below 1, got {number:g}")
    return number
