"""`--set key=value`: single keys of a configuration from the command line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ConfigError, closest

_WORD = re.compile(r"[^\s\[\]{}\"'=,#]+")
"""Text that needs no quotes, such as a name or a path."""


def with_overrides(raw: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The content of a configuration with some keys replaced or added.

    Args:
        raw: Keys and values of the file.
        overrides: Such as `"data.n=50"`: a key with dots, and a value in TOML; words may stand without quotes.

    Returns:
        The new content; whether the keys exist is validated with the rest.

    Raises:
        ConfigError: If one is not a key and a value, or names a model that the file does not have.

    >>> with_overrides({"seed": 0, "data": {"name": "digits"}}, ["data.n=50", "attacks=fast"])
    {'seed': 0, 'data': {'name': 'digits', 'n': 50}, 'attacks': 'fast'}
    """
    content = dict(raw)
    for text in overrides:
        change = _parsed(text)
        _check_models(text, change.get("models"), raw.get("models"))
        content = _merged(content, change)
    return content


def _parsed(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    quoted = [f'"{value.strip()}"'] if _WORD.fullmatch(value.strip()) else []
    for candidate in (value, *quoted) if equals else ():
        try:
            return tomllib.loads(f"{key} = {candidate}")
        except tomllib.TOMLDecodeError:
            continue
    raise ConfigError(
        f"--set {text!r} must look like data.n=50, epsilons=[0.1, 1.0] or data.name=mnist: a key with dots, "
        "and a value as in the file"
    )


def _check_models(text: str, changed: Any, models: Any) -> None:
    if not isinstance(changed, Mapping) or not isinstance(models, Mapping):
        return
    for name in changed.keys() - models.keys():
        near = closest(name, models, n=1) or list(models)
        raise ConfigError(
            f"--set {text!r}: the configuration has no model {name!r}; did you mean models.{near[0]}?"
        )


def _merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(before)
    for key, value in change.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merged(old, value)
        result[key] = value
    return result
