"""Attacks of every supported library behind one interface, and art_flat's own loss maximisers.

## Attacks
`art-flat attacks` lists every attack of torchattacks, ART and, where installed, [foolbox and
adv-lib](../../plugins/README.md): its norms, its requirements, and whether it is usable, degraded or refused, with
the reason; `art-flat attacks torchattacks:CW` describes one. Suites: `fast`, `linf`, `l2`, `l1`, `l0`, `black-box`,
`paper` (the attacks of the paper's authors), `standard` (AutoAttack's four at the published settings, each on the
samples that the earlier ones did not fool), `noise` (controls), `all`, or a TOML file of your own. A run takes those
attacks of a suite that support one of its norms. Your own attack does not need a plugin:
```python
import torch
from art_flat.attacks import as_attack

def one_step(module, x, y):                    # (module, x, y) -> x'; x in units of clip_values
    x = x.clone().requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(module(x), y)
    return (x + 0.1 * torch.autograd.grad(loss, x)[0].sign()).detach()

mine = as_attack(one_step, norms=["Linf"])     # also for instances of ART's and torchattacks' classes
af.evaluate(net, x, y, attacks=[mine], deltas=[0.1]).summary()
```
The points of an attack are clipped, measured in four norms and scored by the classifier's own prediction; the model,
its gradients, hooks and modes, and every random generator are restored.
"""

from .base import Attack as Attack
from .base import AttackInfo as AttackInfo
from .base import AttackResult as AttackResult
from .base import Problem as Problem
from .own import as_attack as as_attack
from .registry import PluginWarning as PluginWarning
from .registry import list_attacks as list_attacks
from .registry import load_attack as load_attack
from .suite import SUITES as SUITES
from .suite import SuiteWarning as SuiteWarning
from .suite import load_attacks as load_attacks
from .suite import load_suite as load_suite

__all__ = [
    "SUITES",
    "Attack",
    "AttackInfo",
    "AttackResult",
    "PluginWarning",
    "Problem",
    "SuiteWarning",
    "as_attack",
    "list_attacks",
    "load_attack",
    "load_attacks",
    "load_suite",
]
