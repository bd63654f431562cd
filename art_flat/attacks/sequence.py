"""Attack sequences: each attack runs on the samples that the earlier ones did not fool."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..adapters.base import Adapter
from ..typing import Norm
from .base import Attack
from .problem import Problem, Steps


class SequenceStep(Attack):
    """An attack at a position of a sequence, written `"torchattacks:FAB @standard.3"`.

    In an evaluation it attacks, at each radius, the clean-correct samples that no attack with an
    earlier position fooled inside the ball; the first attacks every sample. Its records contain only these. The
    scores of its row in the summary are those after this step, over all samples, so that the last step's row is that of
    the sequence. Called directly, it is the unchanged attack.

    Args:
        attack: The attack.
        sequence: Name of the sequence.
        position: Its position in it; smaller ones run first.
    """

    def __init__(self, attack: Attack, sequence: str, position: int) -> None:
        note = (
            f"position {position} of the sequence {sequence}: attacks samples that earlier ones did not fool"
        )
        super().__init__(replace(attack.info, notes=(*attack.info.notes, note)), attack.params)
        self.attack, self.sequence, self.position = attack, sequence, position

    @property
    def name(self) -> str:
        """The attack with its parameters and position, as accepted by `load_attack`."""
        return f"{self.attack.name} @{self.sequence}.{self.position}"

    @property
    def short_name(self) -> str:
        """The short name of the attack, with its position."""
        return f"{self.attack.short_name} @{self.sequence}.{self.position}"

    def check(self, net: Adapter, norm: Norm) -> None:
        """The check of the attack; see `Attack.check`."""
        self.attack.check(net, norm)

    def fixed_steps(self, delta: float) -> Steps | None:
        """The steps of the attack; see `Attack.fixed_steps`."""
        return self.attack.fixed_steps(delta)

    def run(self, problem: Problem) -> torch.Tensor:
        """The attack's points; see `Attack.run`."""
        return self.attack.run(problem)
