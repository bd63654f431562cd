"""Weights in files: safetensors, and PyTorch's own files where they hold nothing but tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ..errors import InputError

_TRUST = "art-flat run --trust, or load_weights(..., trust=True)"
_SAVE_ADVICE = "save the weights with art_flat.models.save_weights(model, 'weights.safetensors')"


def save_weights(model: nn.Module, path: str | Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write all parameters and buffers of `model` to a safetensors file.

    Args:
        model: The network; it is not changed.
        path: The file, ending in .safetensors; missing folders are made.
        dtype: Round floating numbers to this type, `torch.float16` for files of half the size; None for their own.

    Returns:
        The path written.

    Raises:
        InputError: If the path does not end in .safetensors.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(nn.Linear(2, 2), f"{folder}/weights.safetensors").name
    'weights.safetensors'
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(
            f"weights are written as safetensors, got {path.name!r}; end the name in .safetensors"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    # a copy of each: safetensors refuses tensors that share memory
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    if dtype is not None:
        state = {name: v.to(dtype) if v.is_floating_point() else v for name, v in state.items()}
    safetensors.torch.save_file(state, path)
    return path


def load_weights(model: nn.Module, path: str | Path, *, trust: bool = False) -> nn.Module:
    """Fill `model` with the weights in a file; names and shapes must agree, and no code in the file is run.

    Args:
        model: The network; changed in place, on whatever device it is.
        path: A .safetensors file, or a .pt or .pth file that holds a state dict.
        trust: Also read files that hold more than tensors, such as whole pickled models, of any suffix. Opening such
            a file can run any code: only for files of your own.

    Returns:
        `model` itself.

    Raises:
        InputError: If the file is missing, damaged, of another kind, or of another network.

    >>> import tempfile
    >>> net, copy = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = load_weights(copy, save_weights(net, f"{folder}/weights.safetensors"))
    >>> torch.equal(net.weight, copy.weight)
    True
    """
    path = Path(path).expanduser()
    state = _read(path, trust)
    wanted = model.state_dict()
    problems = {
        "missing in the file": [name for name in wanted if name not in state],
        "unknown to the model": [name for name in state if name not in wanted],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in wanted
            if name in state and state[name].shape != wanted[name].shape
        ],
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(names)} {what}: {_some(names)}" for what, names in problems.items() if names
        )
        raise InputError(
            f"the weights in {path} are not those of this {type(model).__name__}: {listed}. "
            "Build the model with the options it was trained with, or name the file that belongs to it"
        )
    model.load_state_dict(state)
    return model


def _read(path: Path, trust: bool) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise InputError(
            f"no weights file {path}; check `weights` (relative paths start at the working folder)"
        )
    if path.suffix not in {".safetensors", ".pt", ".pth"} and not trust:
        raise InputError(
            f"weights are read from .safetensors, .pt or .pth files, got {path.name!r}: other pickles can "
            f"run any code when opened; {_SAVE_ADVICE}, or say that you trust it ({_TRUST})"
        )
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"cannot read the weights in {path}: the file is damaged or holds more than tensors ({reason}); "
            f"{_SAVE_ADVICE}" + ("" if trust else f", or say that you trust it ({_TRUST})")
        ) from error
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise InputError(f"{path} holds no state dict (parameter names to tensors); {_SAVE_ADVICE}")
    return dict(content)


def _some(names: Iterable[str], n: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
