"""Imports adv-lib without visdom, which it requires only to plot, and copies of its functions with parts replaced."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def _without_visdom() -> Iterator[None]:
    """An empty module in place of visdom, if that is not installed: adv-lib needs it at import, and not after."""
    if "visdom" in sys.modules or importlib.util.find_spec("visdom") is not None:
        yield
        return
    sys.modules["visdom"] = types.ModuleType("visdom")
    try:
        yield
    finally:
        del sys.modules["visdom"]


with _without_visdom(), warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it compares versions with distutils
    import adv_lib
    from adv_lib import attacks as library
    from adv_lib.attacks import augmented_lagrangian, auto_pgd, fast_minimum_norm
    from adv_lib.utils.lagrangian_penalties import all_penalties

VERSION: str = adv_lib.__version__
PENALTIES: dict[str, Any] = dict(all_penalties)
"""Penalty functions of ALMA by name."""


def attack_names() -> list[str]:
    """Return the names of the attack functions of adv-lib on classifiers, sorted."""
    return sorted(name for name, thing in vars(library).items() if isinstance(thing, types.FunctionType))


def with_globals(function: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """Return a copy of a function that sees other globals; the library itself is not changed.

    Args:
        function: A function of the library.
        **names: Globals to replace.
    """
    assert isinstance(function, types.FunctionType)
    scope = {**function.__globals__, **names}
    copy = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


__all__ = [
    "PENALTIES",
    "VERSION",
    "attack_names",
    "augmented_lagrangian",
    "auto_pgd",
    "fast_minimum_norm",
    "library",
    "with_globals",
]
