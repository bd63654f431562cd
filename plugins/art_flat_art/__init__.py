"""Registry entries of all evasion attacks of ART.

The specifications were verified by running ART 1.20.1 on NumPy 2 and by reading its sources; line numbers are those
of 1.20.1.
"""

from __future__ import annotations

import functools

import art

from art_flat.attacks import AttackInfo

from ._attack import describe
from ._minimum_norm import MINIMUM_NORM
from ._norm_bounded import NORM_BOUNDED
from ._quirks import ANY
from ._spec import ArtSpec
from ._unbounded import REFUSED, UNBOUNDED


@functools.cache
def attacks() -> tuple[AttackInfo, ...]:
    """Registry entries of all evasion attacks of ART.

    Returns:
        One entry per attack, including those that cannot be used.

    >>> next(info for info in attacks() if info.name == "art:DeepFool").budget
    'minimum-norm'
    """
    refused = (ArtSpec(name, ANY, refusal=reason) for name, reason in REFUSED.items())
    return tuple(
        describe(row, art.__version__) for row in (*NORM_BOUNDED, *MINIMUM_NORM, *UNBOUNDED, *refused)
    )


__all__ = ["attacks"]
