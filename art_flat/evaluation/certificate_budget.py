"""Default time budget for deriving Lipschitz constants: a share of the planned cost of the attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..adapters import Adapter
from ..attacks import Attack
from ..attacks.sequence import SequenceStep
from .radii import Deltas

_SHARE = 0.1
"""Largest share of the operations of the planned attacks."""
ALWAYS = 2e12
"""Number of operations that is always allowed: about a minute on one core."""
_USUAL_STEPS = 10
"""Assumed number of steps of an attack that does not report it."""
_PASSES_PER_STEP = 3
"""A step is a forward pass and a backward pass, which costs about two."""


def planned_passes(attacks: Sequence[Attack], deltas: Deltas, n: int) -> float:
    """Expected cost of a run's attacks on one model, in forward passes of one sample.

    Args:
        attacks: The attacks.
        deltas: Norm → radii.
        n: Number of samples.

    Returns:
        The number of passes; depends only on the arguments, so that every machine agrees.
    """
    steps = 0
    for attack in attacks:
        for norm in (norm for norm in deltas if norm in attack.info.norms):
            once = attack.info.budget != "fixed" and not isinstance(attack, SequenceStep)
            for delta in deltas[norm][: 1 if once else None]:
                fixed = attack.fixed_steps(delta)
                steps += _USUAL_STEPS if fixed is None else fixed.number
    return float(_PASSES_PER_STEP * steps * n)


def too_costly(
    nets: Mapping[str, Adapter], attacks: Sequence[Attack], deltas: Deltas, n: int
) -> dict[str, str]:
    """Models whose Lipschitz constants would exceed the default cost limit.

    Args:
        nets: The models, by name.
        attacks: The attacks of the run.
        deltas: Norm → radii.
        n: Number of samples.

    Returns:
        Model → reason, for those that are too costly.
    """
    passes, norms = planned_passes(attacks, deltas, n), [norm for norm in deltas if norm != "L0"]
    reasons = {}
    for name, net in nets.items():
        cost = net.lipschitz_cost()
        derivation, planned = cost.derivation * len(norms), cost.forward * passes
        if derivation > max(ALWAYS, _SHARE * planned):
            reasons[name] = (
                f"deriving its Lipschitz constants takes about {derivation:.2g} operations, the planned attacks "
                f"{planned:.2g}, and by default the derivation may take {_SHARE:.0%} of them; pass "
                'lipschitz="spectral" to derive them anyway, or known constants'
            )
    return reasons
