"""The radii of a run, by norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._utils.numbers import check_delta
from .._utils.validation import check_norm
from ..attacks import Attack
from ..errors import InputError
from ..typing import NORMS, Norm

Deltas = Mapping[Norm, tuple[float, ...]]


def check_deltas(deltas: Any, attacks: Sequence[Attack]) -> Deltas:
    """Radii per norm, sorted and without repetition.

    Args:
        deltas: `{norm: [δ, ...]}`; a plain list or number where every attack has the same one norm.
        attacks: The attacks of the run.

    Returns:
        Norm → radii in clip units.

    Raises:
        InputError: If there is no radius, one is not positive, or a plain list fits several norms.
    """
    if not isinstance(deltas, Mapping):
        norms = {a.info.norms for a in attacks}
        if len(norms) != 1 or len(next(iter(norms))) != 1:
            found = ", ".join(n for n in NORMS if any(n in a.info.norms for a in attacks))
            raise InputError(
                f"`deltas` is a plain list, but the attacks have several norms ({found}); "
                'pass a mapping, such as deltas={"Linf": [2/255, 8/255], "L2": [0.5]}'
            )
        deltas = {next(iter(norms))[0]: deltas}
    radii: dict[Norm, tuple[float, ...]] = {}
    for norm, values in deltas.items():
        values = [values] if np.ndim(values) == 0 else list(values)
        radii[check_norm(norm)] = tuple(sorted({check_delta(v) for v in values}))
    if not any(radii.values()):
        raise InputError('`deltas` has no radius; pass at least one, such as deltas={"Linf": [8/255]}')
    return {norm: radii[norm] for norm in NORMS if radii.get(norm)}
