"""Validation of the arguments of scores and conversion to per-sample arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from .._utils.arrays import to_numpy, to_tensor
from .._utils.formatting import counted
from .._utils.numbers import check_number
from .._utils.validation import check_labels
from ..errors import InputError
from ..functional import cross_entropy
from .reduce import any_adversarial, difference, evaluated_samples, masked_min, smallest_increase
from .weighted import Bools, Floats


@dataclass(frozen=True)
class Points:
    """Quantities of the points of n samples: shape (n,), or (m, n) for m attacks on the same samples."""

    loss: Floats
    """Cross-entropy in nats; NaN where the output is undefined: a logit is NaN or +inf, or all are -inf."""
    predicted: npt.NDArray[np.int64]
    """The class with the largest logit, the first of them on a tie; -1 where the output is undefined."""
    wrong: Bools
    """Whether the predicted class is not the true one; undefined outputs are wrong."""
    confidence: Floats
    """Largest softmax probability, in (0, 1]; NaN where the output is undefined."""
    nb_classes: int

    @property
    def undefined(self) -> Bools:
        """Where the output is undefined."""
        return np.isnan(self.loss)


class ScoredCase(NamedTuple):
    """The validated arguments of most scores of robustness."""

    clean: Points
    adv: Points
    admissible: Bools
    """Mask of the adversarial points in the ball, (n,) or (m, n)."""
    finished: Bools
    """Mask of the points that the attack finished, (n,) or (m, n)."""
    weight: Floats

    @property
    def evaluated(self) -> Bools:
        """Mask of the scored samples, (n,)."""
        return evaluated_samples(self.clean.loss, self.finished)

    def changed(self) -> Bools:
        """Where the prediction at an admissible point differs from the clean one, or is undefined."""
        differs = (self.adv.predicted != self.clean.predicted) | self.adv.undefined
        changed: Bools = (differs & self.admissible & self.finished) | self.clean.undefined
        return changed

    def wrong(self) -> Bools:
        """Where the prediction at an admissible point is wrong or undefined."""
        return self.adv.wrong & self.admissible & self.finished

    def undefined(self) -> Bools:
        """Where the output at an admissible point is undefined."""
        return self.adv.undefined & self.admissible & self.finished

    def smallest_increase(self) -> Floats:
        """m(x) per sample, (n,), nats; NaN where it is unknown."""
        change = difference(self.adv.loss, self.clean.loss)
        increase = masked_min(change, self.wrong() & ~np.isnan(change))
        increase = smallest_increase(increase, self.clean.wrong, any_adversarial(self.undefined()))
        return np.where(self.evaluated, increase, np.nan)


def check_points(
    y_true: Any, logits: Any, *, adversarial: bool = False, clean: Points | None = None
) -> Points:
    """Labels and logits as `Points`.

    Args:
        y_true: True labels, indices (n,) or one-hot (n, k).
        logits: Logits, (n, k), or (m, n, k) if they are adversarial; k = 1 is logistic.
        adversarial: Whether they are adversarial.
        clean: The clean points that the adversarial ones belong to, to compare shapes with.

    Returns:
        Losses, predictions and confidences, shape (n,) or (m, n).

    Raises:
        InputError: If shapes disagree, labels are soft or out of range, or there are no points.
    """
    z = to_tensor(logits).detach().cpu().to(torch.float64)
    name = "logits_adv" if adversarial else "logits"
    if z.ndim not in ((2, 3) if adversarial else (2,)) or 0 in z.shape:
        expected = "(n, k), or (m, n, k) for m attacks" if adversarial else "(n, k)"
        raise InputError(
            f"`{name}` must have shape {expected}, with at least one sample, got {tuple(z.shape)}; "
            "logistic scores of shape (n,) become logits by scores[:, None]"
        )
    if z.shape[-1] == 1:  # the two-class softmax that equals the logistic one
        z = torch.cat([-z / 2, z / 2], dim=-1)
    *lead, nb_classes = z.shape
    if clean is not None and (lead[-1], nb_classes) != (clean.loss.size, clean.nb_classes):
        raise InputError(
            f"`{name}` has {counted(lead[-1], 'sample')} and {counted(nb_classes, 'class')}, "
            f"`logits` has {clean.loss.size} and "
            f"{clean.nb_classes}; pass the logits of the same samples in the same order"
        )
    labels = check_labels(y_true, lead[-1], nb_classes, name="y_true").cpu().expand(lead)
    rows = z.reshape(-1, nb_classes)
    loss = cross_entropy(rows, labels.reshape(-1)).reshape(lead).numpy()
    predicted = np.where(np.isnan(loss), -1, np.argmax(z.numpy(), axis=-1))
    return Points(
        loss=loss.astype(np.float64),
        predicted=predicted,
        wrong=predicted != labels.numpy(),
        confidence=torch.softmax(rows, dim=-1).amax(dim=-1).reshape(lead).numpy(),
        nb_classes=nb_classes,
    )


def check_case(
    y_true: Any, logits: Any, logits_adv: Any, admissible: Any, finished: Any, sample_weight: Any
) -> ScoredCase:
    """Validate the arguments of most scores of robustness."""
    clean = check_points(y_true, logits)
    adv = check_points(y_true, logits_adv, adversarial=True, clean=clean)
    inside = check_mask(admissible, adv.loss.shape)
    done = check_mask(finished, adv.loss.shape, "finished", "result.status != 'failed'")
    return ScoredCase(clean, adv, inside, done, check_weight(sample_weight, clean.loss.size))


def check_pairs(
    columns: Mapping[str, tuple[Any, Any]], admissible: Any, sample_weight: Any
) -> tuple[list[tuple[Floats, Floats]], Floats]:
    """Numbers at clean points, (n,), and at their adversarial points, (n,) or (m, n), all of one n and m.

    Args:
        columns: Name → the numbers at the clean and at the adversarial points.
        admissible: Which adversarial points lie in the ball.
        sample_weight: Weights of the samples.

    Returns:
        The numbers, and the weight of every adversarial point, 0 where it is not admissible.
    """
    checked: list[tuple[Floats, Floats]] = []
    for name, (clean, adv) in columns.items():
        value = check_column(clean, name, checked[0][0].shape if checked else None)
        shape = checked[0][1].shape if checked else value.shape
        checked.append((value, check_column(adv, f"{name}_adv", shape, many=not checked)))
    n, shape = checked[0][0].size, checked[0][1].shape
    return checked, np.where(check_mask(admissible, shape), check_weight(sample_weight, n), 0.0)


def check_mask(
    values: Any, shape: tuple[int, ...], name: str = "admissible", hint: str = "distance <= delta"
) -> Bools:
    """One boolean per adversarial point.

    Returns:
        Booleans of `shape`; all True if None.

    Raises:
        InputError: If they are not booleans or have another shape.
    """
    if values is None:
        return np.ones(shape, dtype=bool)
    mask = to_numpy(values)
    if mask.dtype != bool or mask.shape != shape:
        raise InputError(
            f"`{name}` must be booleans of shape {shape}, one per adversarial point, got {mask.dtype} of "
            f"shape {mask.shape}; pass {hint}"
        )
    return mask


def check_weight(sample_weight: Any, n: int) -> Floats:
    """Weights of n samples.

    Returns:
        Shape (n,), finite, at least 0, not all 0; all 1 if None.

    Raises:
        InputError: If they are invalid.
    """
    if sample_weight is None:
        return np.ones(n)
    weight = check_column(sample_weight, "sample_weight", (n,))
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        raise InputError("`sample_weight` must be finite, at least 0 and not all 0")
    return weight


def check_column(
    values: Any, name: str, shape: tuple[int, ...] | None = None, *, many: bool = False
) -> Floats:
    """One number per point; NaN is allowed.

    Args:
        values: The numbers.
        name: Name of the argument, for errors.
        shape: The shape they must have; (n,) with any n ≥ 1 if None.
        many: Whether m rows of `shape`, one per attack, are also valid.

    Returns:
        The numbers in float64.

    Raises:
        InputError: If they are not numbers or have another shape.
    """
    column = to_numpy(to_tensor(values).detach().cpu().to(torch.float64))
    if shape is None:
        fits, expected = column.ndim == 1 and column.size > 0, "(n,), with at least one sample"
    else:
        fits, expected = column.shape == shape, f"{shape}"
        if many:
            fits |= column.shape[1:] == shape and column.size > 0
            expected += f", or (m, {shape[0]}) for m attacks"
    if not fits:
        raise InputError(
            f"`{name}` must have shape {expected}, got {column.shape}; pass one number per point"
        )
    return column


def check_share(value: Any, name: str) -> float:
    """A number in [0, 1].

    Returns:
        The number.

    Raises:
        InputError: If it is not such a number.
    """
    share = check_number(value, name, "a share", at_least=0.0)
    if share > 1:
        raise InputError(f"`{name}` must be between 0 and 1, got {share:g}")
    return share


def require_not_nan(score: float, why: str = "no attack finished") -> float:
    """Raise an error for a score that is NaN because no samples remain.

    Returns:
        The score.

    Raises:
        InputError: If it is NaN.
    """
    if np.isnan(score):
        raise InputError(f"no sample with a positive weight is left to score: {why}")
    return float(score)
