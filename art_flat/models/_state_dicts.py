"""Reading state dicts from safetensors and PyTorch files without running code."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ..errors import InputError

StateDict = dict[str, torch.Tensor]

ENTRIES = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts store a state dict beside epochs, optimisers and accuracies."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
"""Prefixes that `DataParallel`, `torch.compile` and wrappers add to every name."""

_TRUST = "art-flat run --trust, or load_weights(..., trust=True)"
_SAVE_ADVICE = "save the weights with art_flat.models.save_weights(model, 'weights.safetensors')"
_MAX_DEPTH = 4
"""Maximum nesting of lists and entries; a pickled list can contain itself."""


def read_state_dicts(path: Path, *, trust: bool = False) -> list[StateDict]:
    """Every state dict in a file, in its order.

    Args:
        path: A .safetensors file, or a file written by `torch.save` with any other suffix.
        trust: Also open files that hold more than tensors, which can run any code.

    Returns:
        At least one state dict, on the CPU: the whole file, its entries with a key in `ENTRIES`, or those of a list.

    Raises:
        InputError: If the file is missing, damaged, holds more than tensors, or holds no state dict.
    """
    if not path.is_file():
        raise InputError(
            f"no weights file {path}; check `weights` (relative paths start at the working folder)"
        )
    states = list(_inside(_opened(path, trust)))
    if not states:
        raise InputError(f"{path} holds no state dict (parameter names to tensors); {_SAVE_ADVICE}")
    return states


def without_prefixes(state: StateDict) -> Iterator[StateDict]:
    """A state dict, then copies without each known prefix that all of its names share.

    Yields:
        State dicts with the same tensors.

    >>> [list(form) for form in without_prefixes({"module.net.weight": torch.zeros(1)})]
    [['module.net.weight'], ['net.weight'], ['weight']]
    """
    yield state
    shared = next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None)
    if shared is not None:
        yield from without_prefixes({name.removeprefix(shared): value for name, value in state.items()})


def _opened(path: Path, trust: bool) -> Any:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; relevant ones are in the error
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        used = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"it holds more than tensors, such as {used[1]},"
            if used
            else "it is damaged or holds more than tensors"
        )
        raise InputError(
            f"cannot read the weights in {path}: {reason} and can run any code when opened; {_SAVE_ADVICE}"
            + ("" if trust else f", or if you trust the file: {_TRUST}")
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"cannot read the weights in {path}: the file is damaged ({reason}); fetch it again, or {_SAVE_ADVICE}"
        ) from error


def _inside(content: Any, depth: int = 0) -> Iterator[StateDict]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if isinstance(content, (list, tuple)):
        for part in content:
            yield from _inside(part, depth + 1)
    elif isinstance(content, Mapping):
        entries = [content[name] for name in ENTRIES if _may_hold(content.get(name))]
        if entries:
            yield from _inside(entries, depth + 1)
        elif content and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items()):
            yield dict(content)


def _may_hold(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple, nn.Module))
