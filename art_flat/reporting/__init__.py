"""Figures for papers (matplotlib) and the report of a run as one HTML file.

## How to read the tables
- accuracy, robust accuracy: share correctly classified at clean points; share correctly classified there and at every
  point found in the ball
- Δℓ ≤ ε: loss-change robustness: share whose loss rises by at most ε nats
- κ clean, κ adv.: median relative sharpness before and after, over clean-correct samples that are misclassified when
  attacked
- flatter: share of those whose adversarial point is flatter than the clean one
- confidently wrong: share of all samples that are misclassified with probability ≥ 0.9

Attacks can only show that a point is *not* robust, so every share is an upper estimate; certificates can only show
that it *is*. The last rows, over all attacks together, show both ends: `12.0…58.5 %` means that 12 % are certified
and the attacks broke all but 58.5 %; the true share is between. Attacks marked † do not maximise the loss (they stop
at the first wrong prediction, or minimise the distance), so their Δℓ columns are not informative; `art_flat:PGD` and
`art_flat:APGD` do, and are in every L∞ and L2 suite. A point counts at (norm, δ) if its measured distance is at most
δ, regardless of the attack and the budget that produced it. Samples that no attack finished are excluded, counted and
listed, and the shares are marked; an undefined output (NaN or infinite) counts as not robust.

## Figures
Every figure of the report, and of `detection_table`, is a function of `art_flat.reporting` that returns a matplotlib
`Figure`, to be saved as PNG, SVG or PDF:
```python
from art_flat.reporting import plot_kappa, plot_surface

plot_surface(results).savefig("surface.pdf")                     # the (δ, ε)-robust share, certified and attacked
plot_kappa(results, norm="Linf", delta=0.1).savefig("kappa.svg") # κ clean against κ adversarial
```
"""

from ._markdown import to_markdown as to_markdown
from ._page import write_report as write_report
from ._robustbench import to_robustbench as to_robustbench
from .plots import plot_attacks as plot_attacks
from .plots import plot_bracket as plot_bracket
from .plots import plot_confidence as plot_confidence
from .plots import plot_detection as plot_detection
from .plots import plot_distributions as plot_distributions
from .plots import plot_kappa as plot_kappa
from .plots import plot_radial_profile as plot_radial_profile
from .plots import plot_samples as plot_samples
from .plots import plot_scale_sweep as plot_scale_sweep
from .plots import plot_security_curve as plot_security_curve
from .plots import plot_surface as plot_surface
from .plots import plot_trajectories as plot_trajectories

__all__ = [
    "plot_attacks",
    "plot_bracket",
    "plot_confidence",
    "plot_detection",
    "plot_distributions",
    "plot_kappa",
    "plot_radial_profile",
    "plot_samples",
    "plot_scale_sweep",
    "plot_security_curve",
    "plot_surface",
    "plot_trajectories",
    "to_markdown",
    "to_robustbench",
    "write_report",
]
