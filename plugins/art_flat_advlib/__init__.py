"""The attacks of adv-lib 0.2 as art_flat attacks: `load_attack("advlib:DDN", steps=100)`.

The specifications were verified by running adv-lib 0.2.8 and by reading its sources.
"""

from __future__ import annotations

from art_flat.attacks import AttackInfo

from ._attack import AdvLibAttack
from ._attack_table import ROWS
from ._library import VERSION, attack_names
from ._spec import AdvLibSpec


def attacks() -> list[AttackInfo]:
    """Return the registry entries of all classification attacks of adv-lib, including refused ones."""
    known = {row.function for row in ROWS}
    reason = f"not supported by art_flat yet; it is new in adv-lib {VERSION}"
    new = (AdvLibSpec(name, name, ("L2",), refusal=reason) for name in attack_names() if name not in known)
    return [_info(row) for row in (*ROWS, *new)]


def _info(row: AdvLibSpec) -> AttackInfo:
    info = AttackInfo(
        name=f"advlib:{row.name}",
        build=lambda **params: AdvLibAttack(row, info, params),
        norms=row.norms,
        budget=row.budget,
        targeted=row.targeted,
        usability="refused" if row.refusal else "usable",
        reason=row.refusal,
        notes=() if row.refusal else row.all_notes(),
        version=VERSION,
        defaults={} if row.refusal else row.defaults(),
    )
    return info


__all__ = ["attacks"]
