"""Bounds on the loss increase for features that move by at most t, and the inverse: the radius for a given ε.

F(t) = max over ‖v‖ ≤ t of ℓ(φ + v) − ℓ(φ) for the loss ℓ = −log p_y of a linear head z = Wφ + b. With
u_j = w_j − w_y, r_j = ‖u_j‖, g = Σ_j p_j u_j (the gradient of ℓ in φ), diam = max ‖w_i − w_j‖,
G = Σ_j p_j(1 − p_j) and ψ(R) = 2(exp R − 1 − R)/R²:

| `kind`                | bound on F(t)                                                  | sound |
|-----------------------|----------------------------------------------------------------|-------|
| `quadratic`           | t‖g‖ + t² diam²/8                                              | yes   |
| `lse`                 | log(1 + Σ_j p_j (exp(t r_j) − 1))                              | yes   |
| `chord`               | log(Σ_j p_j cosh(t r_j) + ‖Σ_j p_j sinh(t r_j) u_j / r_j‖)     | yes   |
| `flatness`            | t‖g‖ + (t²/2) ‖W‖_F² G ψ(t diam): κ of the paper, over ‖φ‖²    | yes   |
| `flatness_neuronwise` | the same with ½ Σ_st p_s p_t ‖w_s − w_t‖² for ‖W‖_F² G         | yes   |
| `directional`         | the ball split along the worst direction (`_directional`)      | yes   |
| `best`                | the smallest of these for each sample                          | yes   |
| `paper`               | (Δ²/2) κ + Δ³ k d/24, Δ = t/‖φ‖, as arXiv 2510.14231 states it | no    |

For two classes `lse` and `chord` are exact. For more, `chord` is at most `lse` and exact to first order in t;
`directional` is at most `chord`, and the worst case up to a fraction of a per cent for most samples of trained nets.

The paper's bound has no gradient term, so every sample with g ≠ 0 exceeds it once t is small; Δ is
L δ/‖φ‖ for an input radius δ, and the L⁶ that the paper prints in the cubic term is read as L³.
The others also hold for wrong predictions, at decision boundaries and at φ = 0.

Bounds are computed in float64 from the given logits and rounded up, radii are rounded down. They hold for
the head in real arithmetic. A logistic head (k = 1) is the two-class softmax with rows ±w/2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, get_args

import torch

from .._utils.formatting import counted
from .._utils.numbers import check_number
from .._utils.validation import check_keywords, check_labels
from ..errors import InputError, UnknownNameError
from . import _directional, _increase, _inverse
from ._increase import Samples, head_geometry
from ._logits import check_logits

BoundKind = Literal[
    "best", "directional", "chord", "lse", "quadratic", "flatness", "flatness_neuronwise", "paper"
]
"""Kinds of bounds on the loss increase."""
BOUND_KINDS: tuple[BoundKind, ...] = get_args(BoundKind)
SOUND_BOUND_KINDS: tuple[BoundKind, ...] = tuple(k for k in BOUND_KINDS if k != "paper")

_CHUNK = 1 << 18
"""Elements per temporary array: memory does not grow with the number of samples, and arrays fit into the cache."""
_PerSample = Callable[[Samples, torch.Tensor], torch.Tensor]
_INCREASE: dict[BoundKind, _PerSample] = {
    "best": _directional.best,
    "directional": _directional.directional,
    "chord": _increase.chord,
    "lse": _increase.lse,
    "quadratic": _increase.quadratic,
    "flatness": _increase.flatness,
    "flatness_neuronwise": _increase.flatness_neuronwise,
    "paper": _increase.paper,
}
_RADIUS: dict[BoundKind, _PerSample] = {
    "best": _inverse.best_radius,
    "directional": _inverse.directional_radius,
    "chord": _inverse.chord_radius,
    "lse": _inverse.lse_radius,
    "quadratic": _inverse.quadratic_radius,
    "flatness": _inverse.flatness_radius,
    "flatness_neuronwise": _inverse.flatness_neuronwise_radius,
    "paper": _inverse.paper_radius,
}


@check_keywords
def loss_increase_bound(
    logits: torch.Tensor,
    features: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    *,
    radius: float | torch.Tensor,
    kind: BoundKind = "best",
) -> torch.Tensor:
    """Bound on F(t), the largest loss increase while the features move by at most t; formulas above.

    It reads the values of labels, radii and logits, so it synchronises with the device.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d); its values count for `"paper"` alone.
        weight: Weight W of the last layer, shape (k, d).
        labels: Class indices (n,), or one-hot rows (n, k).
        radius: t ≥ 0 in feature units, one for all samples or one each, shape (n,); may be infinite.
        kind: Kind of the bound; all except `"paper"` are sound.

    Returns:
        The bound, float64, shape (n,), nats, ≥ 0; 0 at t = 0, infinite where float64 overflows, NaN where a logit
        is NaN or +inf. Differentiable where t > 0.

    Raises:
        InputError: If shapes, dtypes or devices do not fit, or a radius is negative or NaN.
        UnknownNameError: If `kind` is unknown.

    Source: `"flatness"` repairs and `"paper"` quotes the bound of arXiv 2510.14231.

    >>> z, phi, w, y = torch.tensor([[2.0, 0.0]]), torch.ones(1, 2), torch.eye(2), torch.tensor([0])
    >>> loss_increase_bound(z, phi, w, y, radius=1.0)
    tensor([0.3156], dtype=torch.float64)
    """
    kind = _check_kind(kind)
    classes = _check_head(logits, features, weight, labels)
    t = _per_sample(radius, "radius", "feature units", logits, infinite=True)
    finite = t.clamp(max=_increase.LARGE)
    parts = [
        _INCREASE[kind](samples, finite[rows]) for rows, samples in _chunks(logits, features, weight, classes)
    ]
    value = torch.cat(parts)
    value = torch.where(torch.isinf(t) & (value > 0), torch.inf, value).masked_fill(t == 0, 0.0)
    return value.masked_fill(_invalid(logits), torch.nan)


@check_keywords
@torch.no_grad()
def feature_radius(
    logits: torch.Tensor,
    features: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    *,
    epsilon: float | torch.Tensor,
    kind: BoundKind = "best",
) -> torch.Tensor:
    """The largest t at which `loss_increase_bound` is at most ε, the certified radius in feature space.

    It reads the values of labels and ε and iterates to convergence, so it synchronises with the device.

    Args:
        logits: Shape (n, k).
        features: Input φ of the last layer, shape (n, d); its values count for `"paper"` alone.
        weight: Weight W of the last layer, shape (k, d).
        labels: Class indices (n,), or one-hot rows (n, k).
        epsilon: Tolerated loss increase ε ≥ 0 in nats, one for all samples or one each, shape (n,). With
            ε = log 2 − ℓ(x) the prediction cannot become wrong.
        kind: Kind of the bound; all except `"paper"` are sound.

    Returns:
        The radius, float64, shape (n,), feature units, from 0 to +inf (no move raises the loss); NaN where a
        logit is NaN or +inf. Rounded down, by 1e-12 relative (1e-9 for `directional` and `best`): the bound at
        it is ≤ ε. No gradient.

    Raises:
        InputError: If shapes, dtypes or devices do not fit, or an ε is negative, infinite or NaN.
        UnknownNameError: If `kind` is unknown.

    >>> z, phi, w, y = torch.tensor([[2.0, 0.0]]), torch.ones(1, 2), torch.eye(2), torch.tensor([0])
    >>> feature_radius(z, phi, w, y, epsilon=0.316)
    tensor([1.0008], dtype=torch.float64)
    """
    kind = _check_kind(kind)
    classes = _check_head(logits, features, weight, labels)
    tolerated = _per_sample(epsilon, "epsilon", "nats", logits, infinite=False)
    parts = [
        _RADIUS[kind](samples, tolerated[rows])
        for rows, samples in _chunks(logits, features, weight, classes)
    ]
    return torch.cat(parts).masked_fill(_invalid(logits), torch.nan)


def _chunks(
    logits: torch.Tensor, features: torch.Tensor, weight: torch.Tensor, classes: torch.Tensor
) -> Iterator[tuple[slice, Samples]]:
    head = head_geometry(weight)
    step = max(1, _CHUNK // max(head.rows.shape))
    for start in range(0, max(1, logits.shape[0]), step):
        rows = slice(start, start + step)
        yield rows, Samples(logits[rows], features[rows], classes[rows], head)


def _check_kind(kind: str) -> BoundKind:
    if kind not in BOUND_KINDS:
        raise UnknownNameError("kind of bound", kind, BOUND_KINDS)
    return kind


def _check_head(
    logits: torch.Tensor, features: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    check_logits(logits, features, weight)
    n, k = logits.shape
    return check_labels(labels, n, max(2, k), name="labels").to(logits.device)


def _invalid(logits: torch.Tensor) -> torch.Tensor:
    # NaN, +inf (−inf too for a logistic head), or nothing finite
    finite = torch.isfinite(logits)
    return ~((finite | (logits == -torch.inf)).all(dim=1) & finite.any(dim=1))


def _per_sample(
    value: float | torch.Tensor, name: str, unit: str, logits: torch.Tensor, *, infinite: bool
) -> torch.Tensor:
    n = logits.shape[0]
    if not isinstance(value, torch.Tensor) or value.ndim == 0:
        number = check_number(value, name, unit, at_least=0.0)
        return torch.full((n,), number, dtype=torch.float64, device=logits.device)
    if value.shape != (n,):
        raise InputError(
            f"`{name}` must be one number, or one for each of {counted(n, 'sample')}, got {tuple(value.shape)}"
        )
    numbers = value.to(device=logits.device, dtype=torch.float64)
    bad = ~((numbers >= 0) & (torch.isfinite(numbers) | infinite))
    if bool(bad.any()):
        first = int(bad.nonzero()[0, 0])
        finite = "" if infinite else " and finite"
        raise InputError(
            f"`{name}` must be at least 0{finite} ({unit}), got {float(numbers[first]):g} in sample {first}"
        )
    return numbers
