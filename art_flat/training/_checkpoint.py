"""Checkpoints of a training, to resume it."""

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
    """The checkpoint file of a training.

    Attributes:
        path: The file.
        settings: Everything that determines the training; a file with different settings is rejected.
    """

    path: Path
    settings: dict[str, Any]

    def save(self, model: nn.Module, optimizer: torch.optim.SGD, done: dict[str, Any]) -> None:
        """Write the state of model and optimiser, and the progress `done`; an older file is replaced atomically."""
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        for i, p in enumerate(optimizer.param_groups[0]["params"]):
            buffer = optimizer.state.get(p, {}).get("momentum_buffer")
            if buffer is not None:
                tensors[f"momentum.{i}"] = buffer
        # copies, because safetensors rejects tensors that share memory
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        entries = {"done": done, "settings": self.settings}
        metadata = {k: json.dumps(v) for k, v in entries.items()}
        write_atomically(self.path, safetensors.torch.save(tensors, metadata))

    def load(self, model: nn.Module, optimizer: torch.optim.SGD) -> dict[str, Any]:
        """Restore the stored state of model and optimiser, if there is one.

        Returns:
            The stored progress `done`; empty if there is no file.

        Raises:
            InputError: If the file is damaged, or was written with other settings, data or another network.
        """
        if not self.path.exists():
            return {}
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                entries = {k: json.loads(v) for k, v in (file.metadata() or {}).items()}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            done, settings = dict(entries["done"]), dict(entries["settings"])
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
                f"the checkpoint {self.path} was written with other settings: {', '.join(changed)}; restore "
                "them, or remove the file to train from the start"
            )
        device = next(model.parameters()).device
        model.load_state_dict(
            {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        )
        for i, p in enumerate(optimizer.param_groups[0]["params"]):
            if f"momentum.{i}" in tensors:
                layout = torch.channels_last if _channels_last(p) else torch.contiguous_format
                buffer = tensors[f"momentum.{i}"].to(device, memory_format=layout)
                optimizer.state[p]["momentum_buffer"] = buffer
        return done


def fingerprint(*tensors: torch.Tensor) -> str:
    """A hash of the content of tensors, to recognise the same data.

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
