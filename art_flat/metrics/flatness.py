"""Flatness of the loss at clean and adversarial points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import functional
from .._utils.validation import check_definition, check_keywords
from ..adapters import Adapter, Outputs, adapt
from ..errors import InputError
from ._case import Case, make_case
from ._reduction import Reduction, check_reduction, reduced

if TYPE_CHECKING:
    from ..typing import Array, Definition, Norm


@check_keywords
def relative_sharpness(
    classifier: Any,
    x: Array,
    y: Array | None = None,
    *,
    x_adv: Any = None,
    attack: Any = None,
    delta: float | None = None,
    norm: Norm | None = None,
    seed: int = 0,
    definition: Definition = "paper",
    quantile: float = 0.5,
    reduction: Reduction = "mean",
) -> float | Array:
    """Relative sharpness κ of the last layer, at `x` itself or where the adversarial loss is largest.

    Without `x_adv` and `attack` it is κ at the clean points. κ is heavy-tailed: read a quantile beside the mean.

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k); needed with adversarial points only, as κ has no label.
        x_adv: Adversarial points, (n, ...), or a list of such arrays.
        attack: One or several attacks; see `art_flat.metrics`.
        delta: Radius of the ball in clip units; optional if points are given or an attack has its own.
        norm: Norm of the ball; by default `"Linf"` for points, else the common norm of the attacks.
        seed: Seed of the attacks.
        definition: `"paper"`, `"neuronwise"` or `"unsquared"`; see `art_flat.functional.relative_sharpness`.
        quantile: Quantile in [0, 1], with `reduction="quantile"`.
        reduction: `"mean"`, `"quantile"` or `"none"`.

    Returns:
        κ in nats, ≥ 0: a float, or float64 (n,).

    Raises:
        InputError: If an argument is invalid or no sample is left.
        BudgetError: If given points lie outside the ball.

    Source:
        arXiv 2510.14231; Petzka et al., Relative Flatness and Generalization, NeurIPS 2021 (`"neuronwise"`).

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> round(relative_sharpness(classifier, np.array([[0.5, 0.5]])), 6)    # ‖W‖² · ‖φ‖² · G = 2 · ½ · ½
    0.5
    """
    check_reduction(reduction, ("mean", "quantile", "none"))
    check_definition(definition)
    if x_adv is None and attack is None:
        net = adapt(classifier)
        outputs = Outputs(*(t.cpu().double() for t in net.outputs(x)))
    elif y is None:
        raise InputError("`y` is missing: where the adversarial loss is largest depends on the true labels")
    else:
        case = make_case(classifier, x, y, x_adv=x_adv, attack=attack, delta=delta, norm=norm, seed=seed)
        net, outputs = case.net, case.outputs_at(case.worst())
    kappa = functional.relative_sharpness(*outputs, _weight(net), definition=definition)
    return reduced(kappa.numpy(), reduction, x, quantile)


@check_keywords
def adversarial_flatness(
    classifier: Any,
    x: Array,
    y: Array,
    *,
    x_adv: Any = None,
    attack: Any = None,
    delta: float | None = None,
    norm: Norm | None = None,
    seed: int = 0,
    definition: Definition = "paper",
    quantile: float = 0.5,
    reduction: Reduction = "quantile",
) -> float | Array:
    """Sharpness ratio κ(x′) / κ(x) of the adversarial examples; below 1: flatter than their clean points.

    An adversarial example is a clean-correct sample that is misclassified where its loss is largest. Its ratio may
    be +inf (κ = 0 at x alone), so a mean is never taken. Flatness of wrong predictions does not imply robustness.

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        x_adv: Adversarial points, (n, ...), or a list of such arrays.
        attack: One or several attacks; see `art_flat.metrics`.
        delta: Radius of the ball in clip units; optional if points are given or an attack has its own.
        norm: Norm of the ball; by default `"Linf"` for points, else the common norm of the attacks.
        seed: Seed of the attacks.
        definition: `"paper"`, `"neuronwise"` or `"unsquared"`; "paper" and "unsquared" have the same ratio.
        quantile: Quantile over the adversarial examples, in [0, 1]; 0.5 is the (lower) median.
        reduction: `"quantile"` or `"none"`.

    Returns:
        The ratio, without unit, in [0, inf]: a float, or float64 (n,) with NaN where there is no adversarial
        example or κ = 0 at both points.

    Raises:
        InputError: If an argument is invalid or there is no adversarial example.
        BudgetError: If given points lie outside the ball.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> x, x_adv = np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([[0.1, 0.9], [0.8, 0.2]])
    >>> adversarial_flatness(classifier, x, [0, 0], x_adv=x_adv, reduction="none").round(4)
    array([1.3628,    nan])
    """
    check_reduction(reduction, ("quantile", "none"))
    check_definition(definition)
    case = make_case(classifier, x, y, x_adv=x_adv, attack=attack, delta=delta, norm=norm, seed=seed)
    index = _adversarial(case)
    before, after = (
        functional.log_relative_sharpness(
            *case.outputs_at(where), _weight(case.net), definition=definition
        ).numpy()
        for where in (np.where(index < 0, -1, 0), index)
    )
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = np.exp(after - before)
    why = (
        "no clean-correct sample is misclassified where its loss is largest (or κ = 0 at both points), so there is "
        "no adversarial example whose flatness could be measured; use a stronger attack or a larger delta"
    )
    return reduced(ratio, reduction, x, quantile, why)


def _adversarial(case: Case) -> Any:
    """Index of the set of points of each adversarial example, −1 for the other samples."""
    index = case.worst()
    wrong = case.adv.wrong[np.maximum(index - 1, 0), np.arange(index.size)]
    return np.where((index > 0) & wrong & ~case.clean.wrong, index, -1)


def _weight(net: Adapter) -> Any:
    return net.head.weight.detach().cpu().double()
