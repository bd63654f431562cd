"""Checkpoints of a training, from which it resumes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from .._utils.files import write_atomically
from ..errors import InputError


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stands.

    Attributes:
        path: The file.
        settings: Everything that determines the training; a file made with others is refused.
    """

    path: Path
    settings: dict[str, Any]

    def save(self, model: nn.Module, optimizer: torch.optim.SGD, done: dict[str, Any]) -> None:
        """Write the state of model and optimiser, and what is `done`; an older file is replaced in one go."""
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        for i, p in enumerate(optimizer.param_groups[0]["params"]):
            buffer = optimizer.state.get(p, {}).get("momentum_buffer")
            if buffer is not None:
                tensors[f"momentum.{i}"] = buffer
        # a copy of each: safetensors refuses tensors that share memory
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        said = {"done": done, "settings": self.settings}
        metadata = {k: json.dumps(v) for k, v in said.items()}
        write_atomically(self.path, safetensors.torch.save(tensors, metadata))

    def load(self, model: nn.Module, optimizer: torch.optim.SGD) -> dict[str, Any]:
        """Put model and optimiser into the stored state, if there is one.

        Returns:
            What was given as `done`; empty if there is no file.

        Raises:
            InputError: If the file is damaged, or was made with other settings, data or another network.
        """
        if not self.path.exists():
            return {}
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                said = {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            done, settings = dict(said["done"]), dict(said["settings"])
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(
                f"cannot read the checkpoint {self.path}: {reason}; remove it to train from the start"
            ) from error
        now = json.loads(json.dumps(self.settings))
        changed = [
            f"{k} ({settings.get(k)!r}, now {now.get(k)!r})"
            for k in {**settings, **now}
            if settings.get(k) != now.get(k)
        ]
        if changed:
            raise InputError(
                f"the checkpoint {self.path} was made with other settings: {', '.join(changed)}; go back to "
                "them, or remove the file to train from the start"
            )
        place = next(model.parameters()).device
        model.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
        for i, p in enumerate(optimizer.param_groups[0]["params"]):
            if f"momentum.{i}" in tensors:
                layout = torch.channels_last if _channels_last(p) else torch.contiguous_format
                buffer = tensors[f"momentum.{i}"].to(place, memory_format=layout)
                optimizer.state[p]["momentum_buffer"] = buffer
        return done


def fingerprint(*tensors: torch.Tensor) -> str:
    """A hash of the content of tensors, to know the same data again.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _channels_last(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
