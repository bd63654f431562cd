"""Objects by import string, such as "package.module:function"."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ConfigError, UnknownNameError


def import_object(text: str, what: str) -> Any:
    """The object that an import string names.

    Args:
        text: "package.module:name", where the name may have dots.
        what: What it is, for errors, such as "factory".

    Returns:
        The object.

    Raises:
        ConfigError: If the text is not an import string, or the module cannot be imported.
        UnknownNameError: If the module does not have the name.

    >>> import_object("math:floor", "function")(1.5)
    1
    """
    name, colon, attribute = text.partition(":")
    if not (name and colon and attribute):
        head, _, tail = text.strip(":").rpartition(".")
        meant = f"; did you mean {f'{head}:{tail}'!r}?" if head and tail else ""
        raise ConfigError(f"{what} {text!r} must read 'package.module:function'{meant}")
    try:
        named: Any = importlib.import_module(name)
    except Exception as error:
        raise ConfigError(
            f"{what} {text!r}: importing {name!r} raised {type(error).__name__}: {error}. Install the "
            "package that holds it, or run where Python finds it"
        ) from error
    for part in attribute.split("."):
        if not hasattr(named, part):
            public = getattr(named, "__all__", None) or [
                n for n, v in vars(named).items() if _is_public(n, v)
            ]
            raise UnknownNameError(f"{what} in {name!r}", part, public)
        named = getattr(named, part)
    return named


@contextmanager
def import_path(folder: str | Path | None) -> Iterator[None]:
    """In the block, a folder is the first on Python's import path; nothing changes if it is None."""
    before = list(sys.path)
    if folder is not None:
        sys.path.insert(0, str(Path(folder).resolve()))
    try:
        yield
    finally:
        sys.path[:] = before


def _is_public(name: str, value: Any) -> bool:
    return not name.startswith("_") and callable(value) and not isinstance(value, ModuleType)
