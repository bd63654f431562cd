"""Suites: named lists of attacks in TOML, in the package or the user's own."""

from __future__ import annotations

import fnmatch
import tomllib
import warnings
from collections.abc import Collection, Container, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from .._utils.formatting import counted
from ..errors import ArtFlatError, ConfigError, InputError, UnknownNameError, closest
from ..typing import Norm
from .base import Attack
from .own import OwnAttack, as_attack
from .registry import absent_libraries, list_attacks, load_attack, same_attack

_FOLDER = files(__package__) / "suites"
SUITES: tuple[str, ...] = tuple(
    sorted(f.name.removesuffix(".toml") for f in _FOLDER.iterdir() if f.name.endswith(".toml"))
)
"""Names of the suites in the package."""


class SuiteWarning(UserWarning):
    """An attack of a suite cannot be used in this installation and was skipped."""


def load_suite(name: str) -> list[Attack]:
    """The usable attacks of a suite; the others are named in a warning.

    Args:
        name: A suite of the package, such as `"fast"`, or the path of a TOML file with
            `attacks = ["library:Name(parameter=value)", ...]`; a name with `*`, such as `"art:*"`, selects every
            matching attack that can be used. Those of `where_installed = [...]` are part of it if their optional
            library is installed.

    Returns:
        At least one attack.

    Raises:
        UnknownNameError: If the suite is unknown.
        ConfigError: If the file cannot be read, or none of its attacks can be used.

    >>> [attack.name for attack in load_suite("fast")][:2]
    ['art_flat:PGD(steps=20)', 'art_flat:APGD(steps=20)']
    """
    attacks, missing = [], []
    for spec in _expanded(_suite_names(name)):
        try:
            attack = load_attack(spec)
        except ArtFlatError as error:
            missing.append(f"{spec} ({error})")
        else:
            if attack.info.usability == "refused":
                missing.append(f"{spec} (refused: {attack.info.reason})")
            else:
                attacks.append(attack)
    if not attacks:
        raise ConfigError(f"suite {name}: none of its attacks can be used here: {'; '.join(missing)}")
    if missing:
        warnings.warn(f"suite {name}: left out {'; '.join(missing)}", SuiteWarning, stacklevel=3)
    return attacks


def _suite_names(name: str) -> list[str]:
    """The names of attacks in a suite of the package or in a TOML file."""
    if name in SUITES:
        text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    elif name.endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ConfigError(f"cannot read the suite {name}: {error.strerror}") from None
    else:
        raise UnknownNameError("suite", name, SUITES, "A file of your own ends in .toml.")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"suite {name} is not valid TOML: {error}") from None
    attacks = _names(name, "attacks", table.get("attacks"))
    absent = absent_libraries()
    optional = _names(name, "where_installed", table.get("where_installed", []))
    return attacks + [spec for spec in optional if spec.partition(":")[0] not in absent]


def _names(suite: str, key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(spec, str) for spec in value):
        raise ConfigError(f'suite {suite}: expected {key} = ["library:Name", ...], got {value!r}')
    return value


def _expanded(specs: list[str]) -> list[str]:
    """The names, with `*` expanded to the matching attacks; a pattern without a match is unchanged."""
    expanded: list[str] = []
    for spec in specs:
        names: list[str] = []
        if spec.endswith("*") and "(" not in spec:
            usable = [n for n, info in list_attacks().items() if info.usability != "refused"]
            names = fnmatch.filter(usable, spec)
        expanded += names or [spec]
    return list(dict.fromkeys(expanded))


def load_attacks(specs: Any) -> list[Attack]:
    """Attacks from one or several names, suites, `Attack`s and user-defined attacks, without repetition.

    User-defined functions and objects with the same name are numbered, as `own:step` and `own:step-2`, unless
    `as_attack` was called with a name.

    Args:
        specs: One or several of: names as accepted by `load_attack`, names or files of suites, attacks, and
            anything that `as_attack` accepts.

    Returns:
        The attacks in the given order.

    Raises:
        InputError: If there are none, or two different ones have the same name.

    >>> [attack.name for attack in load_attacks(["art_flat:PGD(steps=2)", "art_flat:APGD"])]
    ['art_flat:PGD(steps=2)', 'art_flat:APGD']
    """
    attacks, _ = _loaded(specs)
    return list(attacks.values())


def load_attacks_for(specs: Any, norms: Collection[Norm]) -> tuple[list[Attack], list[Attack]]:
    """Attacks for balls in some norms: a suite contributes those that support one of them.

    Args:
        specs: As in `load_attacks`.
        norms: The norms.

    Returns:
        The attacks, with every one that is named itself; and the remaining ones of the suites.

    Raises:
        InputError: As `load_attacks`.

    >>> attacks, left_out = load_attacks_for(["fast", "torchattacks:CW"], ["Linf"])
    >>> attacks[-1].name, [attack.info.name for attack in left_out]
    ('torchattacks:CW', ['torchattacks:PGDL2', 'art:DeepFool'])
    """
    attacks, named = _loaded(specs)
    is_left_out = {
        name: name not in named and not set(norms) & set(a.info.norms) for name, a in attacks.items()
    }
    kept, left_out = (
        [a for name, a in attacks.items() if is_left_out[name] == value] for value in (False, True)
    )
    return kept, left_out


def _loaded(specs: Any) -> tuple[dict[str, Attack], set[str]]:
    """Name → attack, and the names of those that are not only members of suites."""
    if isinstance(specs, str) or not isinstance(specs, Iterable):
        specs = [specs]
    attacks: dict[str, Attack] = {}
    named: set[str] = set()
    for spec in specs:
        if isinstance(spec, str) and (spec in SUITES or spec.endswith(".toml")):
            for attack in load_suite(spec):
                _include(attacks, attack)
        else:
            attack = _attack_not_suite(spec) if isinstance(spec, str) else as_attack(spec)
            named.add(_include(attacks, attack))
    if not attacks:
        raise InputError('no attack was given; pass a suite such as "fast", names, or attacks')
    return attacks, named


def load_single_attack(spec: Any) -> Attack:
    """The attack of anything that `load_attacks` accepts, if it is one.

    Args:
        spec: A name, an `Attack`, or a user-defined attack.

    Returns:
        The attack.

    Raises:
        InputError: If there are several, or none.

    >>> load_single_attack("art_flat:APGD").name
    'art_flat:APGD'
    """
    attacks = load_attacks(spec)
    if len(attacks) != 1:
        raise InputError(
            f"`attack` names {counted(len(attacks), 'attack')}; pass one, and call once for each"
        )
    return attacks[0]


def _attack_not_suite(spec: str) -> Attack:
    try:
        return load_attack(spec)
    except UnknownNameError as error:
        if closest(spec, SUITES):
            raise UnknownNameError("suite or attack", spec, [*SUITES, *error.close]) from None
        raise


def _include(attacks: dict[str, Attack], attack: Attack) -> str:
    """Add an attack under a unique name, unless it is a repetition; the name under which it is included."""
    if isinstance(attack, OwnAttack):
        attack = attack.source.again()
        if (name := next((n for n, other in attacks.items() if attack.repeats(other)), None)) is not None:
            return name
        attack = _numbered(attack, attacks)
    before = attacks.setdefault(attack.name, attack)
    if before is not attack and not (before.hash == attack.hash and same_attack(attack)):
        raise InputError(
            f"two different attacks are called {attack.name}; give each its own: as_attack(..., name=...)"
        )
    return attack.name


def _numbered(attack: OwnAttack, taken: Container[str]) -> OwnAttack:
    """The attack with the first free number after its name, if the name is taken and was not chosen by the user."""
    name, number = attack.info.name, 1
    while attack.name in taken and not attack.source.is_named:
        number += 1
        attack = attack.renamed(f"{name}-{number}")
    return attack
