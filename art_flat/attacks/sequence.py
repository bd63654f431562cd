"""Attack sequences: each attack runs on the samples that the earlier ones did not fool."""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from ..adapters.base import Adapter
from ..typing import Norm
from .base import Attack
from .problem import Problem, Steps

_PLACE = re.compile(r"(?P<spec>.*\S)\s+@(?P<sequence>[A-Za-z][\w-]*)\.(?P<position>\d+)\s*", re.DOTALL)


class SequenceStep(Attack):
    """An attack with a place in a sequence, written `"torchattacks:FAB @standard.3"`.

    In an evaluation it gets, at each radius, the clean-correct samples that no attack with an
    earlier position fooled inside the ball; the first gets every sample. Its records hold those alone, so its
    robust accuracy is over what was left, and the worst case over all attacks is what the sequence leaves. Called by
    itself it is the attack as it is.

    Args:
        attack: The attack.
        sequence: Name of the sequence.
        position: Its place in it; smaller ones come first.
    """

    def __init__(self, attack: Attack, sequence: str, position: int) -> None:
        note = f"place {position} of the sequence {sequence}: gets what earlier places left right"
        super().__init__(replace(attack.info, notes=(*attack.info.notes, note)), attack.params)
        self.attack, self.sequence, self.position = attack, sequence, position

    @property
    def name(self) -> str:
        """The attack with its parameters and place, as `load_attack` takes it."""
        return f"{self.attack.name} @{self.sequence}.{self.position}"

    def check(self, net: Adapter, norm: Norm) -> None:
        """Refuse what the attack itself refuses; see `Attack.check`."""
        self.attack.check(net, norm)

    def fixed_steps(self, delta: float) -> Steps | None:
        """The attack's own; see `Attack.fixed_steps`."""
        return self.attack.fixed_steps(delta)

    def run(self, problem: Problem) -> torch.Tensor:
        """The attack's points; see `Attack.run`."""
        return self.attack.run(problem)


def split_position(spec: str) -> tuple[str, str, int] | None:
    """Take the place off a text that gives an attack one.

    Args:
        spec: Such as `"torchattacks:FAB(steps=100) @standard.3"`.

    Returns:
        The attack, the sequence and the position; None if there is no place.

    >>> split_position("torchattacks:FAB(steps=100) @standard.3")
    ('torchattacks:FAB(steps=100)', 'standard', 3)
    """
    found = _PLACE.fullmatch(spec)
    return (found["spec"], found["sequence"], int(found["position"])) if found else None
