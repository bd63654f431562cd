"""The mathematical core: torch in, torch out, one number per sample, differentiable.

Results are on the device of the arguments. No function synchronises with the device, except those that read values:
`loss_increase_bound`, `feature_radius`, `snap_into_balls` and, once for a model, `lipschitz_constant`.

## Relative sharpness
With features φ, logits z = Wφ + b, p = softmax(z) and G = Σ p(1 − p), the trace of the loss's Hessian in W is Tr H =
‖φ‖² G. Three definitions are in use; every result states which one it uses.

| `definition=` | formula | source |
|---|---|---|
| `"paper"` (default) | ‖W‖_F² · Tr H | arXiv 2510.14231 |
| `"neuronwise"` | Σ_{s,t} ⟨w_s, w_t⟩ Tr H_st = ‖φ‖² · ½ Σ p_s p_t ‖w_s − w_t‖² | Petzka et al., NeurIPS 2021 |
| `"unsquared"` | ‖W‖_F · Tr H | the paper's public code |

κ underflows on confident models, so `log_relative_sharpness` is exact where κ itself is 0 in float32.
"""

from ._lipschitz_cost import LipschitzCost as LipschitzCost
from ._lipschitz_cost import lipschitz_cost as lipschitz_cost
from .bounds import BOUND_KINDS as BOUND_KINDS
from .bounds import SOUND_BOUND_KINDS as SOUND_BOUND_KINDS
from .bounds import BoundKind as BoundKind
from .bounds import feature_radius as feature_radius
from .bounds import loss_increase_bound as loss_increase_bound
from .distance import distance as distance
from .distance import distances as distances
from .distance import project as project
from .hessian import gini_impurity as gini_impurity
from .hessian import hessian_max_eigenvalue as hessian_max_eigenvalue
from .hessian import hessian_trace as hessian_trace
from .hessian import log_gini_impurity as log_gini_impurity
from .hessian import log_hessian_trace as log_hessian_trace
from .levels import round_to_levels as round_to_levels
from .lipschitz import LIPSCHITZ_KINDS as LIPSCHITZ_KINDS
from .lipschitz import LipschitzBound as LipschitzBound
from .lipschitz import LipschitzKind as LipschitzKind
from .lipschitz import constant_in_norm as constant_in_norm
from .lipschitz import lipschitz_constant as lipschitz_constant
from .lipschitz import radius_in_input as radius_in_input
from .loss_change import cross_entropy as cross_entropy
from .loss_change import feature_gradient_norm as feature_gradient_norm
from .loss_change import loss_change as loss_change
from .loss_change import margin as margin
from .loss_change import minimum_loss_increase_lower_bound as minimum_loss_increase_lower_bound
from .rounding import snap_into_balls as snap_into_balls
from .sharpness import log_relative_sharpness as log_relative_sharpness
from .sharpness import relative_sharpness as relative_sharpness

__all__ = [  # noqa: RUF022 (grouped by file)
    # sharpness
    "gini_impurity",
    "log_gini_impurity",
    "hessian_trace",
    "log_hessian_trace",
    "hessian_max_eigenvalue",
    "relative_sharpness",
    "log_relative_sharpness",
    # loss_change
    "cross_entropy",
    "feature_gradient_norm",
    "loss_change",
    "margin",
    "minimum_loss_increase_lower_bound",
    # distance
    "distance",
    "distances",
    "project",
    # levels
    "round_to_levels",
    # rounding
    "snap_into_balls",
    # bounds
    "BOUND_KINDS",
    "SOUND_BOUND_KINDS",
    "BoundKind",
    "feature_radius",
    "loss_increase_bound",
    # lipschitz
    "LIPSCHITZ_KINDS",
    "LipschitzBound",
    "LipschitzCost",
    "LipschitzKind",
    "constant_in_norm",
    "lipschitz_constant",
    "lipschitz_cost",
    "radius_in_input",
]
