"""The nets of the experiments with the images they are tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

import art_flat as af
from art_flat.datasets import Dataset, load_dataset
from art_flat.models import build

from .outcome import Case


class Nets(Mapping[str, "Net"]):
    """The nets of one part of settings.toml whose weights are there.

    Args:
        described: Name → factory, data set and normalisation; `weights` names a file per training seed.
        folder: Where the weights are: NAME.safetensors or NAME/weights.safetensors.
        data: Folder of the data sets.
    """

    def __init__(self, described: dict[str, dict[str, Any]], folder: Path, data: Path) -> None:
        nets = (Net(name, facts, folder, data) for name, facts in described.items())
        self._nets = {net.name: net for net in nets if all(path.is_file() for path in net.files)}

    def __getitem__(self, name: str) -> Net:
        return self._nets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nets)

    def __len__(self) -> int:
        return len(self._nets)


class Net:
    """One net, read when a case is asked for; several where it was trained with several seeds."""

    def __init__(self, name: str, facts: dict[str, Any], folder: Path, data: Path) -> None:
        self.name, self.facts, self.data = name, facts, data
        self.files = [_file(folder, one) for one in facts.get("weights", [name])]

    def hash(self, seed: int) -> str:
        """What tells the weights used at a seed apart from others."""
        with self._file(seed).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def case(self, seed: int, n: int) -> Case:
        """The net and the block of `n` test images that belong to a seed.

        Raises:
            ValueError: If there are not that many images.
        """
        part = slice(seed * n, (seed + 1) * n)
        x, y = self.images.x[part], self.images.y[part]
        if len(x) < n:
            raise ValueError(
                f"{self.name}: {len(self.images)} images are not enough for seed {seed} with {n} each"
            )
        classifier = build(
            self.facts["factory"], weights=self._file(seed), options=self.facts.get("options"),
            mean=self.facts.get("mean"), std=self.facts.get("std"), input_shape=self.images.input_shape,
            nb_classes=10, clip_values=self.images.clip_values,
        )  # fmt: skip
        if self.facts["data"] == "cifar10":
            _channels_last(classifier.model)
        training = partial(_load, self.facts["data"], self.data, split="train")
        return Case(self.name, af.adapt(classifier), x, y, training)

    @cached_property
    def images(self) -> Dataset:
        """All test images there are."""
        return _load(self.facts["data"], self.data, split="test")

    def _file(self, seed: int) -> Path:
        return self.files[seed % len(self.files)]


def _file(folder: Path, name: str) -> Path:
    single = folder / f"{name}.safetensors"
    return single if single.is_file() else folder / name / "weights.safetensors"


def _load(name: str, root: Path, *, split: str) -> Dataset:
    if name == "cifar10" and (root / "cifar10_genuine_subset.npz").is_file():
        return load_dataset("npz", path=root / "cifar10_genuine_subset.npz", split=split)
    return load_dataset(name, root=root / name, split=split)


def _channels_last(model: torch.nn.Module) -> None:
    """Faster on CPUs; the first layer keeps its layout, because torchattacks reshapes the gradient of its input."""
    convolutions = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]
    for part in convolutions[1:]:
        part.to(memory_format=torch.channels_last)
