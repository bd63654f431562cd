"""The papers' analyses: trajectories into the uncanny valley, head scaling, curvature away from the data.

## Attack trajectories
```python
valley = af.trace_attack(net, "art_flat:PGD(steps=20)", x, y, delta=0.2)    # from the attack's own forward passes
valley.frame()                          # one row per sample and step: loss, kappa, confidence, label, distance
valley.uncanny_valley_fraction          # share of fooled samples that end flatter than clean and confidently wrong
sweep = af.scale_sweep(net, "torchattacks:PGD", x, y, delta=0.2, scales=[1, 10, 100])
sweep.frame()                           # robust accuracy rises with the head's scale, transfer stays: gradient masking
results.findings()                      # warnings to read before the numbers
```
"""

from .profile import RadialProfile as RadialProfile
from .profile import radial_profile as radial_profile
from .scaling import ScaledHead as ScaledHead
from .scaling import ScaleSweep as ScaleSweep
from .scaling import scale_sweep as scale_sweep
from .trajectory import Trajectories as Trajectories
from .trajectory import trace_attack as trace_attack

__all__ = [
    "RadialProfile",
    "ScaleSweep",
    "ScaledHead",
    "Trajectories",
    "radial_profile",
    "scale_sweep",
    "trace_attack",
]
