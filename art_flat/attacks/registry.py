"""Registry of attacks: discovered through entry points, named `library:Name(parameter=value)`."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Mapping
from typing import Any

from .._utils.sequence_names import split_position
from ..errors import ArtFlatError, AttackNotUsableError, InputError, UnknownNameError
from ._parameters import read_literal
from .base import Attack, AttackInfo
from .sequence import SequenceStep

GROUP = "art_flat.attacks"
OPTIONAL = {
    "foolbox": ("foolbox", 'pip install "art-flat[foolbox]"'),
    "advlib": (
        "adv_lib",
        "pip install --no-deps adv-lib==0.2.8",
    ),  # its requirement visdom often fails to build
}
"""Optional libraries whose plugin is part of art_flat → their module, and how to install them."""


class PluginWarning(UserWarning):
    """A plugin could not be loaded; its attacks are missing from the list."""


@functools.cache
def _plugin(entry: importlib.metadata.EntryPoint) -> tuple[AttackInfo, ...]:
    try:
        return tuple(entry.load()())
    except ModuleNotFoundError as error:
        fix = (
            f'pip install "art-flat[{entry.name}]"'
            if error.name == entry.name
            else f"pip install {error.name}"
        )
        reason = f"{error}; to use it: {fix}"
    except Exception as error:
        package = entry.dist.name if entry.dist is not None else entry.module
        reason = f"{type(error).__name__}: {error}; try: pip install --upgrade {package}"
    warnings.warn(f"attack plugin {entry.name!r} cannot be loaded: {reason}", PluginWarning, stacklevel=4)
    return ()


def list_attacks(library: str | None = None) -> dict[str, AttackInfo]:
    """Every registered attack by name, including those that cannot be used.

    Args:
        library: Only attacks of this library, such as `"torchattacks"`.

    Returns:
        Name → registry entry, in the order of the plugins' names.

    >>> list_attacks("art_flat")["art_flat:PGD"].norms
    ('Linf', 'L2')
    """
    infos: dict[str, AttackInfo] = {}
    absent = absent_libraries()
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
        if entry.name not in absent and (library is None or entry.name == library):
            infos |= {info.name: info for info in _plugin(entry)}
    return infos


def absent_libraries() -> list[str]:
    """Libraries with a plugin in art_flat that are not installed; `list_attacks` omits them."""
    return [name for name, (module, _) in OPTIONAL.items() if importlib.util.find_spec(module) is None]


def load_attack(spec: str, /, **params: Any) -> Attack:
    """Build an attack from its name, with parameters in the text or as keywords.

    Args:
        spec: Such as `"torchattacks:PGD"` or `"art_flat:PGD(steps=20, restarts=2)"`; the library may be omitted
            if only one has an attack of that name. With a position, as in `"torchattacks:FAB @standard.3"`, an
            evaluation runs it on the samples that earlier steps of that sequence did not fool.
        **params: Parameters with the library's names; they take precedence over those in the text.

    Returns:
        The attack, ready to be called.

    Raises:
        UnknownNameError: If the attack is unknown; the message names the closest ones.
        AttackNotUsableError: If its library is not installed; the message says how to install it.
        InputError: If the text is invalid.

    >>> load_attack("art_flat:PGD(steps=20)", restarts=2).name
    'art_flat:PGD(restarts=2, steps=20)'
    """
    step = split_position(spec)
    if step is not None:
        return SequenceStep(load_attack(step[0], **params), *step[1:])
    name, inline = parse_spec(spec)
    library = name.split(":")[0] if ":" in name else None
    if library in absent_libraries():
        module, install = OPTIONAL[str(library)]
        raise AttackNotUsableError(f"{name} needs the package {module}: {install}")
    infos = list_attacks(library) or list_attacks()
    if name not in infos:
        matches = [n for n in infos if n.split(":", 1)[-1] == name]
        if len(matches) != 1:
            registered = list_attacks()
            known = matches or [*registered, *(n.split(":", 1)[-1] for n in registered)]
            hint = f"There are {', '.join(matches)}." if matches else "`art-flat attacks` lists every one."
            raise UnknownNameError("attack", name, known, hint)
        name = matches[0]
    attack: Attack = infos[name].build(**{**inline, **params})
    return attack


def same_attack(attack: Attack) -> bool:
    """Whether `load_attack` rebuilds an attack from its name alone.

    Args:
        attack: Any attack.

    Returns:
        False for user-defined attacks.
    """
    if ":" not in attack.info.name or attack.info.name.startswith("own:"):
        return False
    try:
        rebuilt = load_attack(attack.name)
    except ArtFlatError:
        return False
    return type(rebuilt) is type(attack) and rebuilt.hash == attack.hash


def parse_spec(spec: str) -> tuple[str, Mapping[str, Any]]:
    """Name and parameters of an attack written as a call with literal keyword arguments.

    Args:
        spec: Such as `"torchattacks:PGD(steps=20)"`.

    Returns:
        The name, and the parameters by name.

    Raises:
        InputError: If the text is not such a call.

    >>> parse_spec("torchattacks:PGD(steps=20)")
    ('torchattacks:PGD', {'steps': 20})
    """
    name, bracket, _ = spec.partition("(")
    if not bracket:
        return spec.strip(), {}
    try:
        call = ast.parse("_" + spec[len(name) :].strip(), mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else []
        params = {k.arg: read_literal(k.value) for k in keywords if k.arg is not None}
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise InputError(_unreadable(spec, str(error))) from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise InputError(_unreadable(spec, "it is not a call"))
    if call.args or len(params) < len(call.keywords):
        raise InputError(_unreadable(spec, "only keyword arguments are allowed"))
    return name.strip(), params


def _unreadable(spec: str, why: str) -> str:
    return f"cannot read the attack {spec!r}: {why}; write it as library:Name(parameter=value, ...)"


def _reduce_to_name(attack: Attack) -> tuple[Any, ...] | None:
    return (load_attack, (attack.name,)) if same_attack(attack) else None


Attack.reduce_to_name = staticmethod(_reduce_to_name)
