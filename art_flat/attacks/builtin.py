"""Registry entries of the built-in attacks."""

from __future__ import annotations

from typing import Any

from .base import AttackInfo
from .lossmax import APGD, PGD
from .noise import GaussianNoise, UniformNoise

ADAPTIVE = {"objective": "loss", "within": None, "score": None, "definition": "paper"}
"""Parameters of `StagedObjective`."""


def attacks() -> list[AttackInfo]:
    """The loss maximisers and the noise controls."""
    return [
        _maximiser("art_flat:PGD", PGD, steps=40, restarts=1, step_size=None, random_start=True),
        _maximiser("art_flat:APGD", APGD, steps=100, restarts=1, **ADAPTIVE),
        _control("art_flat:GaussianNoise", GaussianNoise, "on the sphere of radius delta", steps=1),
        _control("art_flat:UniformNoise", UniformNoise, "uniform in the ball of radius delta", steps=1),
    ]


def _maximiser(name: str, cls: type[PGD] | type[APGD], **defaults: Any) -> AttackInfo:
    from .._version import __version__

    note = "maximises the cross-entropy in the ball; keeps the best iterate of each sample"
    info = AttackInfo(
        name=name,
        build=lambda **params: cls(info, params),
        norms=("Linf", "L2"),
        maximises_loss=True,
        targeted=True,
        takes_start=cls is APGD,
        notes=(note,),
        version=__version__,
        defaults=defaults,
    )
    return info


def _control(
    name: str, cls: type[GaussianNoise] | type[UniformNoise], where: str, **defaults: Any
) -> AttackInfo:
    from .._version import __version__

    info = AttackInfo(
        name=name,
        build=lambda **params: cls(info, params),
        norms=("Linf", "L2"),
        access="none",
        notes=(
            f"control: a random point {where}",
            "with steps above 1 it keeps the point with the largest loss on the path to that point",
        ),
        version=__version__,
        defaults=defaults,
    )
    return info
