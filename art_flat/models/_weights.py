"""Loading and saving weights, with checks of names and shapes against the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from .._utils.files import write_atomically
from ..errors import InputError
from ._state_dicts import StateDict, read_state_dicts, without_prefixes

_COUNTER = "num_batches_tracked"


def save_weights(model: nn.Module, path: str | Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write all parameters and buffers of `model` to a safetensors file.

    Args:
        model: The network; it is not changed.
        path: The file, ending in .safetensors; missing folders are created.
        dtype: Floating-point dtype of the file, such as `torch.float16` for half the size; unchanged if None. With a
            dtype, the counters of batch norm are left out (`load_weights` keeps the model's); only further training
            with `momentum=None` reads them.

    Returns:
        The path written.

    Raises:
        InputError: If the path does not end in .safetensors.
        StoreError: If the file cannot be written.

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
    # copies, because safetensors rejects tensors that share memory
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    if dtype is not None:
        state = {
            name: v.to(dtype) if v.is_floating_point() else v
            for name, v in state.items()
            if not name.endswith(_COUNTER)
        }
    write_atomically(path, safetensors.torch.save(state))
    return path


def load_weights(model: nn.Module, path: str | Path, *, trust: bool = False) -> nn.Module:
    """Fill `model` with the weights in a file; names and shapes must agree, and no code in the file is run.

    Public checkpoints are read directly: a state dict, one in an entry `state_dict`, `model_state_dict`,
    `model` or `net`, or a list of them; with a prefix such as `module.` before every name; without the counters of
    batch norm (`num_batches_tracked`), which old versions of PyTorch did not write.

    Args:
        model: The network; changed in place, on its current device.
        path: A .safetensors file, or one written by `torch.save`, such as a .pt, .pth or .th file.
        trust: Also read files that hold more than tensors, such as whole pickled models. Opening such a file can run
            any code: use it only for trusted files.

    Returns:
        `model` itself.

    Raises:
        InputError: If the file is missing, damaged, holds more than tensors, belongs to another network, or holds
            several state dicts that fit.

    >>> from tempfile import TemporaryDirectory
    >>> from art_flat.models import cifar_resnet20
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "resnet20.th"
    ...     published = torch.nn.DataParallel(cifar_resnet20(seed=1))
    ...     torch.save({"state_dict": published.state_dict(), "best_prec1": 91.7}, path)
    ...     net = load_weights(cifar_resnet20(), path)
    >>> torch.equal(net.linear.weight, published.module.linear.weight)
    True
    """
    path = Path(path).expanduser()
    wanted = model.state_dict()
    states = [form for s in read_state_dicts(path, trust=trust) for form in without_prefixes(s)]
    fitting = [state for state in states if not _differences(state, wanted)]
    name = type(model).__name__
    if not fitting:
        differences = min((_differences(state, wanted) for state in states), key=_size)
        listed = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in differences.items())
        raise InputError(
            f"the weights in {path} are not those of this {name}: {listed}. "
            "Build the model with the options it was trained with, or name the file that belongs to it"
        )
    if len(fitting) > 1:
        raise InputError(
            f"{path} holds {len(fitting)} state dicts that fit this {name}; write the one you mean to a file of its "
            "own with torch.save"
        )
    model.load_state_dict({**wanted, **fitting[0]})
    return model


def _differences(state: StateDict, wanted: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """Names and shapes in which a state dict differs from the model's; empty if there are none."""
    differences = {
        "missing in the file": [
            f"{name} {tuple(value.shape)}"
            for name, value in wanted.items()
            if name not in state and not name.endswith(_COUNTER)
        ],
        "unknown to the model": [f"{n} {tuple(v.shape)}" for n, v in state.items() if n not in wanted],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in state and state[name].shape != value.shape
        ],
    }
    return {what: names for what, names in differences.items() if names}


def _size(differences: Mapping[str, list[str]]) -> int:
    return sum(map(len, differences.values()))


def _some(names: Iterable[str], n: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
