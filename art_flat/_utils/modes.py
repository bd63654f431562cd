"""Training and evaluation mode of modules, restored afterwards, and leaving torch's inference mode."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from ..errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Modules without a mode of their own; slicing an nn.Sequential leaves it in training mode."""


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Set every submodule to evaluation mode inside the block; modes are restored afterwards, also after an error.

    >>> model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    >>> with eval_mode(model):
    ...     model[0].training
    False
    >>> model[0].training
    True
    """
    modules = list(model.modules())
    modes = [module.training for module in modules]
    model.eval()
    try:
        yield
    finally:
        restore_modes(modules, modes)


def outside_inference_mode(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function outside torch's inference mode, in which tensors never get a gradient.

    Inputs that were made in inference mode must be copied: `to_tensor` does.

    Args:
        function: The function.

    Returns:
        The function with the same signature; it also runs in the caller's inference mode.

    >>> @outside_inference_mode
    ... def slope(x):
    ...     x = torch.tensor(x, requires_grad=True)
    ...     return float(torch.autograd.grad(x**2, x)[0])
    >>> with torch.inference_mode():
    ...     slope(3.0)
    6.0
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.is_inference_mode_enabled():
            return function(*args, **kwargs)
        with torch.inference_mode(False):
            return function(*args, **kwargs)

    return wrapper


def restore_modes(modules: Sequence[nn.Module], modes: Sequence[bool]) -> bool:
    """Set the modes that differ from `modes`; setting one is slow, so equal modes are skipped.

    Args:
        modules: The modules.
        modes: Their values of `training`.

    Returns:
        Whether any mode differed.
    """
    changed = [(m, mode) for m, mode in zip(modules, modes, strict=True) if m.training != mode]
    for module, mode in changed:
        module.training = mode
    return bool(changed)


def require_eval_mode(model: nn.Module) -> None:
    """Require that no submodule is in training mode.

    Raises:
        InputError: If one is.
    """
    if any(m.training for m in model.modules() if type(m) not in _CONTAINERS):
        raise InputError(
            f"{type(model).__name__} is in training mode, in which dropout and batch normalisation are random or "
            "depend on the batch; call eval() on it first"
        )
