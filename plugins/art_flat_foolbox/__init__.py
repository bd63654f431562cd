"""Every attack of foolbox 3.3 as an art_flat attack: `load_attack("foolbox:LinfPGD", steps=20)`.

The specifications were verified by running foolbox 3.3.4 and by reading its sources.
"""

from __future__ import annotations

import inspect
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports names that SciPy deprecates
    import foolbox
    from foolbox.attacks.base import Attack as FoolboxAttack

from art_flat.attacks import AttackInfo

from ._attack import WrappedFoolboxAttack
from ._attack_table import ROWS
from ._spec import FoolboxSpec


def attacks() -> list[AttackInfo]:
    """Return the registry entries of all attacks of foolbox, including those that cannot be used."""
    specified = {row.name for row in ROWS}
    available = {
        thing.__name__
        for thing in vars(foolbox.attacks).values()
        if inspect.isclass(thing) and issubclass(thing, FoolboxAttack) and not inspect.isabstract(thing)
    }
    reason = f"not supported by art_flat yet; it is new in foolbox {foolbox.__version__}"
    rows = (*ROWS, *(FoolboxSpec(name, ("L2",), refusal=reason) for name in sorted(available - specified)))
    return [_info(row) for row in rows]


def _info(row: FoolboxSpec) -> AttackInfo:
    refusal = row.refused_here()
    info = AttackInfo(
        name=f"foolbox:{row.name}",
        build=lambda **params: WrappedFoolboxAttack(row, info, params),
        norms=row.norms,
        access=row.access,
        budget=row.budget,
        maximises_loss=row.maximises_loss,
        targeted=row.targeted,
        usability="refused" if refusal else "usable",
        reason=refusal,
        notes=row.all_notes(),
        version=foolbox.__version__,
        defaults=row.defaults(),
    )
    return info


__all__ = ["attacks"]
