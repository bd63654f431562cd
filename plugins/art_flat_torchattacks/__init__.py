"""Every attack of torchattacks 3.5.1 as an art_flat attack: `load_attack("torchattacks:PGD", steps=20)`."""

from __future__ import annotations

import torchattacks

from art_flat.attacks import AttackInfo

from . import _fixed, _free
from ._attack import LibraryAttack
from ._row import Row


def attacks() -> list[AttackInfo]:
    """Return what is known of every name of torchattacks, refused ones included, for the registry."""
    rows = {row.name: row for row in _fixed.ROWS + _free.ROWS}
    return [_info(rows.get(name) or _unknown(name)) for name in torchattacks.__all__]


def _unknown(name: str) -> Row:
    reason = f"art_flat does not know it; it is new in torchattacks {torchattacks.__version__}"
    return Row(name, ("Linf",), radius=None, usability="refused", reason=reason)


def _info(row: Row) -> AttackInfo:
    info = AttackInfo(
        name=f"torchattacks:{row.name}",
        build=lambda **params: LibraryAttack(row, info, params),
        norms=row.norms,
        access=row.access,
        budget=row.budget,
        maximises_loss=row.maximises_loss,
        targeted=row.targeted,
        usability=row.usability,
        reason=row.reason,
        notes=row.notes + row.step_notes(),
        version=torchattacks.__version__,
        defaults=row.defaults(),
    )
    return info


__all__ = ["attacks"]
