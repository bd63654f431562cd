"""Every attack of torchattacks 3.5.1 as an art_flat attack: `load_attack("torchattacks:PGD", steps=20)`."""

from __future__ import annotations

import torchattacks

from art_flat.attacks import AttackInfo

from . import _minimum_norm, _norm_bounded
from ._attack import TorchattacksAttack
from ._spec import TorchattacksSpec


def attacks() -> list[AttackInfo]:
    """Return the registry entries of all attacks of torchattacks, including those that cannot be used."""
    rows = {row.name: row for row in _norm_bounded.ROWS + _minimum_norm.ROWS}
    return [_info(rows.get(name) or _unknown(name)) for name in torchattacks.__all__]


def _unknown(name: str) -> TorchattacksSpec:
    reason = f"not supported by art_flat yet; it is new in torchattacks {torchattacks.__version__}"
    return TorchattacksSpec(name, ("Linf",), radius=None, usability="refused", reason=reason)


def _info(row: TorchattacksSpec) -> AttackInfo:
    info = AttackInfo(
        name=f"torchattacks:{row.name}",
        build=lambda **params: TorchattacksAttack(row, info, params),
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
