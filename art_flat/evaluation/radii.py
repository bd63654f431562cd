"""The radii of a run, by norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._utils.numbers import check_radii
from .._utils.validation import check_norm, unique_keys
from ..attacks import Attack
from ..errors import InputError
from ..typing import NORMS, Norm

Deltas = Mapping[Norm, tuple[float, ...]]


def norms_of(deltas: Any) -> list[Norm] | None:
    """The norms of `deltas`; None for a plain list, whose norm is that of the attacks.

    Args:
        deltas: As in `check_deltas`.

    Returns:
        The norms.

    Raises:
        UnknownNameError: If a norm is unknown.
    """
    if not isinstance(deltas, Mapping):
        return None
    return [check_norm(norm) for norm in deltas]


def check_deltas(deltas: Any, attacks: Sequence[Attack]) -> Deltas:
    """Radii per norm, sorted and without repetition.

    Args:
        deltas: `{norm: [δ, ...]}`; a plain list or number where every attack has the same one norm.
        attacks: The attacks of the run.

    Returns:
        Norm → radii in clip units.

    Raises:
        InputError: If there is no radius, one is not positive, a norm is given twice, or a plain list fits several.
    """
    if not isinstance(deltas, Mapping):
        norms = {a.info.norms for a in attacks}
        if len(norms) != 1 or len(next(iter(norms))) != 1:
            found = [n for n in NORMS if any(n in a.info.norms for a in attacks)]
            given = ", ".join(map(str, np.atleast_1d(deltas).tolist()))
            raise InputError(
                f"`deltas` names no norm, but the attacks support several ({', '.join(found)}); "
                f'pass a mapping, such as deltas={{"{found[0]}": [{given}]}}'
            )
        deltas = {next(iter(norms))[0]: deltas}
    if not deltas:
        raise InputError('`deltas` has no radius; pass at least one, such as deltas={"Linf": [8/255]}')
    radii: Deltas = {
        n: tuple(sorted(check_radii(values)))
        for n, values in unique_keys(deltas, check_norm, "deltas").items()
    }
    return {norm: radii[norm] for norm in NORMS if norm in radii}
