"""User-defined attacks by import string, as a configuration names them: "mymodule:one_step"."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloudpickle

from .._utils.imports import import_object, import_path
from ..errors import ArtFlatError, ConfigError
from .base import Attack
from .own import as_attack
from .registry import GROUP, OPTIONAL, parse_spec


def with_imported(specs: str | Iterable[str], folder: Path) -> list[str | Attack]:
    """The attacks of a configuration, with import strings replaced by the attacks that they name.

    Args:
        specs: One or several names of attacks, suites and import strings. `"mymodule:one_step"` is a function
            (module, x, y) or anything else that `as_attack` accepts; with brackets, `"mymodule:make(steps=3)"`, it
            is the result of a call.
        folder: First folder of the import path.

    Returns:
        The attacks in the given order; everything that is not an import string is unchanged.

    Raises:
        ConfigError: If there is no such module or object, or it is not an attack.

    >>> with_imported(["fast", "art_flat:PGD(steps=2)"], Path())
    ['fast', 'art_flat:PGD(steps=2)']
    """
    given = [specs] if isinstance(specs, str) else specs
    return [_imported(spec, folder) if _is_import_string(spec) else spec for spec in given]


def _is_import_string(spec: str) -> bool:
    library, colon, _ = spec.partition(":")
    return bool(colon) and not spec.endswith(".toml") and library not in _libraries() and "*" not in spec


def _libraries() -> set[str]:
    return {entry.name for entry in importlib.metadata.entry_points(group=GROUP)} | set(OPTIONAL)


def _imported(spec: str, folder: Path) -> Attack:
    with import_path(folder):
        try:
            name, params = parse_spec(spec)
            obj = import_object(name, "attack")
            return as_attack(_called(obj, spec, params) if "(" in spec else obj)
        except ArtFlatError as error:
            missing = isinstance(error.__cause__, ModuleNotFoundError)
            libraries = f". Libraries of attacks are {', '.join(sorted(_libraries()))}" if missing else ""
            raise ConfigError(f"attacks: {error}{libraries}") from error
        finally:
            _pickle_by_value(spec.partition(":")[0], folder)


def _called(function: Any, spec: str, params: Any) -> Any:
    try:
        return function(**params)
    except Exception as error:
        raise ConfigError(f"attack {spec!r} raised {type(error).__name__}: {error}") from error


def _pickle_by_value(module: str, folder: Path) -> None:
    """Let worker processes, whose import path has no such folder, get the code itself."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is not None and Path(file).resolve().is_relative_to(folder.resolve()):
        cloudpickle.register_pickle_by_value(loaded)
