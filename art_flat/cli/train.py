"""`art-flat train`: training from a configuration file, with weights and a model card as output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from .._utils.formatting import counted
from ..errors import ConfigError
from ..training import Adversary, CertifiedLoss, TrainingSettings
from .config import DataConfig, Delta, ModelConfig, Section, Seed, read_toml, validated
from .run import load_data, load_model

if TYPE_CHECKING:
    from ..datasets import Dataset

WEIGHTS, CARD, HISTORY, CHECKPOINT = (
    "weights.safetensors", "model_card.md", "history.csv", "checkpoint.safetensors",
)  # fmt: skip


_DEFAULTS = TrainingSettings()


class AdversaryConfig(Section):
    """`[training.adversary]`: adversarial training; see `art_flat.training.Adversary`."""

    delta: Delta = Adversary.delta
    norm: Literal["Linf", "L2"] = Adversary.norm
    steps: int = Field(default=Adversary.steps, ge=1)
    step: Delta | None = None
    random_start: bool = Adversary.random_start
    trainer: Literal["pgd", "art"] = Adversary.trainer


class CertifiedConfig(Section):
    """`[training.certified]`: certified training; see `art_flat.training.CertifiedLoss`."""

    delta: Delta = CertifiedLoss.delta
    clean_weight: float = Field(default=CertifiedLoss.clean_weight, ge=0, le=1)
    warmup: float = Field(default=CertifiedLoss.warmup, ge=0, lt=1)
    ramp: float = Field(default=CertifiedLoss.ramp, ge=0, le=1)


class TrainingConfig(Section):
    """`[training]`: see `art_flat.training.TrainingSettings`, which sets the defaults."""

    epochs: int = Field(default=_DEFAULTS.epochs, ge=1)
    lr: float = _DEFAULTS.lr
    batch_size: int = Field(default=_DEFAULTS.batch_size, ge=1)
    weight_decay: float = _DEFAULTS.weight_decay
    momentum: float = _DEFAULTS.momentum
    nesterov: bool = _DEFAULTS.nesterov
    warmup: float = _DEFAULTS.warmup
    crop: int = Field(default=_DEFAULTS.crop, ge=0)
    flip: bool = _DEFAULTS.flip
    channels_last: bool = _DEFAULTS.channels_last
    adversary: AdversaryConfig | None = None
    certified: CertifiedConfig | None = None


class TrainConfig(Section):
    """The configuration of a training; the split of `data` is "train" by default."""

    model: ModelConfig
    data: DataConfig
    test: DataConfig | None = None
    """Test data for the accuracy after every epoch and in the model card."""
    training: TrainingConfig = TrainingConfig()
    about: str = ""
    """A sentence for the model card, for example on the source of the data."""
    seed: Seed = 0
    device: str | None = None
    half: bool = False
    """Whether the weights are written as float16."""


def read_train_config(path: str | Path) -> tuple[TrainConfig, Path]:
    """Read and validate the configuration of a training.

    Args:
        path: A TOML file.

    Returns:
        The configuration, and the base folder of its relative paths.

    Raises:
        ConfigError: If the file cannot be read or is invalid; the message lists all errors.
    """
    config = validated(TrainConfig, read_toml(path), str(path))
    if "split" not in config.data.model_fields_set:
        config = config.model_copy(update={"data": config.data.model_copy(update={"split": "train"})})
    return config, Path(path).resolve().parent


def train_from_config(
    config: TrainConfig,
    folder: Path,
    out: Path,
    *,
    progress: Callable[[int, int, float], None] | None = None,
    notify: Callable[[str], None] = lambda _: None,
    command: str = "art-flat train",
) -> dict[str, Any]:
    """Train as configured; weights, model card, history and checkpoint are written to a folder.

    A training found there is resumed.

    Args:
        config: The configuration.
        folder: Base of relative paths and first folder of the import path of factories.
        out: The folder; created if missing.
        progress: See `train`.
        notify: Called with a message before and after each step.
        command: The command line, for the model card.

    Returns:
        The facts of the model card.

    Raises:
        ConfigError: If data or the model cannot be loaded.
        InputError: If settings are invalid, or the checkpoint belongs to a different training run.
    """
    from ..training import train

    if config.model.mean is not None or config.model.std is not None:
        raise ConfigError(
            "model: the network is trained on the inputs unchanged; drop `mean` and `std`, or normalise inside it"
        )
    data = load_data(config.data, folder)
    test = None if config.test is None else load_data(config.test, folder)
    notify(
        f"{data.name}: {counted(len(data), 'sample')} of shape {data.x.shape[1:]}, {counted(data.nb_classes, 'class')}"
    )
    classifier = load_model(config.model, data, folder, seed=config.seed, device=config.device)
    settings = _settings(config.training, data.clip_values)

    def on_epoch(history: list[dict[str, Any]]) -> None:
        write_history(history, out / HISTORY)
        notify(_epoch_message(history[-1], config.training.epochs))

    out.mkdir(parents=True, exist_ok=True)
    train(
        classifier.model, data.x, data.y, **settings, seed=config.seed, progress=progress, on_epoch=on_epoch,
        test=None if test is None else (test.x, test.y), checkpoint=out / CHECKPOINT,
    )  # fmt: skip
    return _finish(config, classifier, data, test, out, command)


def _settings(training: TrainingConfig, clip_values: tuple[float, float]) -> dict[str, Any]:
    settings = training.model_dump(exclude={"adversary", "certified"})
    if training.adversary is not None:
        settings["adversary"] = Adversary(clip_values=clip_values, **training.adversary.model_dump())
    if training.certified is not None:
        settings["certified"] = CertifiedLoss(clip_values=clip_values, **training.certified.model_dump())
    return settings


def write_history(history: list[dict[str, Any]], path: Path) -> None:
    """One line per epoch, as CSV."""
    import pandas as pd

    pd.DataFrame(history).to_csv(path, index=False)


def _epoch_message(row: dict[str, Any], epochs: int) -> str:
    test = f", test accuracy {row['test_accuracy']:.4f}" if "test_accuracy" in row else ""
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.4f}{test}, "
        f"{row['seconds']:.0f} s"
    )


def _finish(
    config: TrainConfig, classifier: Any, data: Dataset, test: Dataset | None, out: Path, command: str
) -> dict[str, Any]:
    import torch

    from ..models import load_weights, save_weights

    network = classifier.model
    save_weights(network, out / WEIGHTS, dtype=torch.float16 if config.half else None)
    load_weights(network, out / WEIGHTS)  # measure the weights as stored
    facts = {
        "weights": f"{WEIGHTS}, {'float16' if config.half else 'as trained'}, "
        f"{counted((out / WEIGHTS).stat().st_size, 'byte')}",
        "network": f"{config.model.factory}, {json.dumps(config.model.options)}, "
        f"{counted(sum(p.numel() for p in network.parameters()), 'parameter')}",
        "training data": f"{data.name}, {counted(len(data), 'sample')}",
    }
    if test is not None:
        facts["test data"] = f"{test.name}, {counted(len(test), 'sample')}"
        accuracy, loss = _measure(network, test)
        facts["test accuracy"], facts["test loss"] = f"{accuracy:.4f}", f"{loss:.4f} nats (mean)"
    facts["seed"] = str(config.seed)
    facts["made with"] = f"torch {torch.__version__}, Python {sys.version.split()[0]}"
    facts["command"] = f"`{command}`"
    (out / CARD).write_text(_card(config, facts), encoding="utf-8")
    return facts


def _measure(network: Any, test: Dataset) -> tuple[float, float]:
    import torch
    from torch import nn

    weight = next(network.parameters())
    right, loss = 0, 0.0
    network.eval()
    with torch.no_grad():
        for i in range(0, len(test), 500):
            logits = network(torch.as_tensor(test.x[i : i + 500]).to(weight)).double()
            y = torch.as_tensor(test.y[i : i + 500]).to(weight.device)
            right += int((logits.argmax(dim=1) == y).sum())
            loss += float(nn.functional.cross_entropy(logits, y, reduction="sum"))
    return right / len(test), loss / len(test)


def _card(config: TrainConfig, facts: dict[str, Any]) -> str:
    import tomli_w

    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    settings = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True, exclude={"about"}))
    about = f"{config.about}\n\n" if config.about else ""
    name = config.model.factory.rpartition(":")[2]
    return f"# {name}\n\n| | |\n|---|---|\n{rows}\n\n{about}Every setting:\n\n```toml\n{settings}```\n"
