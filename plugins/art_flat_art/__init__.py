"""ART's evasion attacks as attacks of art_flat: one row per attack, none left out.

The facts in the rows were found by running ART 1.20.1 on NumPy 2 and by reading its sources; line numbers are those
of 1.20.1.
"""

from __future__ import annotations

import functools

import art

from art_flat.attacks import AttackInfo

from ._attack import describe
from ._fixed import FIXED
from ._nearest import NEAREST
from ._other import OTHER, REFUSED
from ._row import Row
from ._rules import ANY


@functools.cache
def attacks() -> tuple[AttackInfo, ...]:
    """What art_flat is told of every evasion attack of ART, for the registry.

    Returns:
        One entry per attack, those that cannot be used included.

    >>> next(info for info in attacks() if info.name == "art:DeepFool").budget
    'minimum-norm'
    """
    refused = (Row(name, ANY, refusal=reason) for name, reason in REFUSED.items())
    return tuple(describe(row, art.__version__) for row in (*FIXED, *NEAREST, *OTHER, *refused))


__all__ = ["attacks"]
