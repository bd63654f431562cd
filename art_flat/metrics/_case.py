"""The arguments of a metric as clean and adversarial points of an adapted classifier."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .._utils.arrays import to_numpy
from .._utils.formatting import counted
from .._utils.numbers import check_delta, check_seed
from .._utils.validation import check_inputs, check_labels, check_norm
from ..adapters import Adapter, Outputs, adapt
from ..attacks import Attack, load_attacks
from ..attacks.suite import load_attacks_for
from ..errors import BudgetError, InputError
from ..functional import snap_into_balls
from ..scores._points import Points, ScoredCase, check_points
from ..scores.reduce import any_adversarial, difference
from ..scores.weighted import Bools
from ..typing import Norm

if TYPE_CHECKING:
    import numpy.typing as npt


class OutsideBallWarning(UserWarning):
    """Points of an attack lie outside the ball and count as the clean point."""


class AttackNotRunWarning(UserWarning):
    """Attacks were skipped because they do not support the norm of the ball."""


class AttackedPoints(NamedTuple):
    """One set of adversarial points, one per sample."""

    outputs: Outputs
    admissible: Bools
    failed: Bools


@dataclass(frozen=True)
class Case:
    """Clean points and m sets of adversarial points of the same n samples."""

    net: Adapter
    clean: Points
    adv: Points
    """Shape (m, n)."""
    admissible: Bools
    """Mask of the adversarial points in the ball, shape (m, n)."""
    finished: Bools
    """Mask of the points that the attack finished, shape (m, n)."""
    outputs: tuple[Outputs, ...]
    """Logits and features at the clean points, then at every set of adversarial points."""

    def worst(self) -> npt.NDArray[np.int64]:
        """Index of the adversarial point in the ball with the largest loss, even if that is below the clean loss.

        Returns:
            Shape (n,): j for the j-th set of points, 0 (the clean point) where none lies in the ball, −1 where
            no attack finished or every output in the ball is undefined.
        """
        change = difference(self.adv.loss, self.clean.loss)
        inside = ~np.isnan(change) & self.admissible & self.finished
        largest = np.where(inside, change, -np.inf).argmax(axis=0) + 1
        unknown = (
            self.clean.undefined | any_adversarial(self.scored.undefined()) | ~any_adversarial(self.finished)
        )
        return np.where(inside.any(axis=0), largest, np.where(unknown, -1, 0))

    @property
    def scored(self) -> ScoredCase:
        """The case in the form of the scores."""
        weight = np.ones(self.clean.loss.size)
        return ScoredCase(self.clean, self.adv, self.admissible, self.finished, weight)

    def outputs_at(self, index: npt.NDArray[np.int64]) -> Outputs:
        """Logits and features, float64, at the points with the indices of `worst`; NaN where the index is −1."""
        rows = torch.arange(len(index))
        unknown = torch.from_numpy(index < 0)[:, None]
        columns = zip(*self.outputs, strict=True)
        chosen = (torch.stack([t.cpu() for t in c])[torch.from_numpy(index), rows].double() for c in columns)
        return Outputs(*(t.masked_fill(unknown, torch.nan) for t in chosen))


def make_case(
    classifier: Any, x: Any, y: Any, *, x_adv: Any, attack: Any, delta: Any, norm: Any, seed: int
) -> Case:
    """Validate the arguments of a metric, and run its attacks.

    Args:
        classifier: An ART classifier or an adapter.
        x: Clean inputs, (n, ...).
        y: True labels, (n,) or one-hot (n, k).
        x_adv: Adversarial points already computed, an array or a list of arrays; or None.
        attack: One or several attacks; or None.
        delta: Radius of the ball in clip units, or None.
        norm: Norm of the ball; "Linf", or what the attacks have in common, if None.
        seed: Seed of the attacks.

    Returns:
        The points with the classifier's outputs.

    Raises:
        InputError: If an argument is invalid, or not exactly one of `x_adv` and `attack` is given.
        BudgetError: If points of `x_adv` lie outside the ball.
    """
    if (x_adv is None) == (attack is None):
        given = "neither" if x_adv is None else "both"
        raise InputError(
            f"got {given} of `x_adv` and `attack`; pass existing adversarial points as x_adv=, or "
            'attacks as attack=, such as attack="art_flat:APGD"'
        )
    net, seed = adapt(classifier), check_seed(seed)
    inputs = check_inputs(
        x, input_shape=net.input_shape, clip_values=net.clip_values, feature_names=net.feature_names
    ).detach()
    inputs = inputs.to(torch.promote_types(net.dtype, torch.float32))  # the dtype of attacks
    labels = check_labels(y, len(inputs), net.nb_classes).cpu()
    radius = None if delta is None else check_delta(delta)
    clean = net.outputs(inputs)
    if attack is None:
        attacked = list(_given(net, inputs, x_adv, radius, check_norm("Linf" if norm is None else norm)))
    else:
        attacks, ball = _chosen(attack, radius, norm)
        attacked = [_attacked(a, net, inputs, labels, clean, radius, ball, seed) for a in attacks]
    logits_adv = torch.stack([t.outputs.logits.cpu() for t in attacked])
    points = check_points(labels, clean.logits)
    return Case(
        net=net,
        clean=points,
        adv=check_points(labels, logits_adv, adversarial=True, clean=points),
        admissible=np.stack([t.admissible for t in attacked]),
        finished=np.stack([~t.failed for t in attacked]),
        outputs=(clean, *(t.outputs for t in attacked)),
    )


def _given(
    net: Adapter, x: torch.Tensor, x_adv: Any, delta: float | None, norm: Norm
) -> Iterator[AttackedPoints]:
    many = isinstance(x_adv, (list, tuple))
    if many and not x_adv:
        raise InputError("`x_adv` is an empty list; pass at least one array of adversarial points")
    for number, given in enumerate(x_adv if many else [x_adv]):
        name = f"x_adv[{number}]" if many else "x_adv"
        points = check_inputs(given, input_shape=net.input_shape, clip_values=net.clip_values, name=name)
        if points.shape != x.shape:
            raise InputError(
                f"`{name}` has {counted(len(points), 'point')} for {counted(len(x), 'sample')}; "
                "pass one for each, in the order of `x`"
            )
        points = _inside(x, points.detach().to(x), delta, norm, name)
        none = np.zeros(len(x), dtype=bool)
        yield AttackedPoints(net.outputs(points), ~none, none)


def _inside(
    x: torch.Tensor, points: torch.Tensor, delta: float | None, norm: Norm, name: str
) -> torch.Tensor:
    """The points, projected into the ball where only rounding exceeds δ."""
    if delta is None:
        return points
    points, lengths = snap_into_balls(x, points, [(norm, delta)])
    length = lengths[norm]
    outside = length > delta
    if bool(outside.any()):
        first = int(outside.nonzero()[0, 0])
        raise BudgetError(
            f"{int(outside.sum())} of {counted(len(x), 'point')} of `{name}` lie outside the {norm} ball of radius "
            f"{delta:g}, by up to {float(length.max()) - delta:.3g} (sample {first}: {float(length[first]):.6g}); "
            "pass the radius and norm of their attack, or omit `delta`"
        )
    return points


def _chosen(specs: Any, delta: float | None, norm: Any) -> tuple[list[Attack], Norm | None]:
    """The attacks that support the ball, and its norm; None without a ball."""
    if norm is None:
        attacks = load_attacks(specs)
        firsts = sorted({a.info.norms[0] for a in attacks})
        if len(firsts) > 1 and delta is not None:
            raise InputError(
                f"the attacks have several norms ({', '.join(firsts)}); pass the norm of the ball of radius "
                f'{delta:g}, such as norm="{firsts[-1]}"'
            )
        return attacks, firsts[0] if len(firsts) == 1 else None
    ball = check_norm(norm)
    attacks, of_suites = load_attacks_for(specs, [ball])
    attacks += [a for a in of_suites if a.info.budget != "fixed"]
    usable = [a for a in attacks if a.info.budget != "fixed" or ball in a.info.norms]
    left_out = [f"{a.name} (supports {', '.join(a.info.norms)})" for a in attacks if a not in usable]
    if usable and left_out:
        warnings.warn(
            f"left out, since they do not support {ball}: {'; '.join(left_out)}",
            AttackNotRunWarning,
            stacklevel=4,
        )
    return usable or attacks or of_suites, ball


def _attacked(
    attack: Attack,
    net: Adapter,
    x: torch.Tensor,
    labels: torch.Tensor,
    clean: Outputs,
    delta: float | None,
    norm: Norm | None,
    seed: int,
) -> AttackedPoints:
    foreign = norm not in attack.info.norms and attack.info.budget != "fixed"
    ball = {} if norm is None or delta is None else {norm: (delta,)}
    result = attack(
        net, x, labels, clean=clean, seed=seed, radii=ball,
        norm=None if foreign else norm, delta=None if foreign else delta,
    )  # fmt: skip
    inside = to_numpy(result.within_budget)
    if foreign and norm is not None and delta is not None:
        inside = result.distances[norm] <= delta
    failed = result.status == "failed"
    outside = ~inside & ~failed
    if outside.any() and attack.info.budget != "minimum-norm" and norm is not None:
        warnings.warn(
            f"{outside.sum()} of {counted(len(x), 'point')} of {attack.name} lie outside the "
            f"{norm} ball of radius {delta:g} "
            f"(up to {result.distances[norm][outside].max():.4g}) and count as the clean point",
            OutsideBallWarning,
            stacklevel=5,
        )
    return AttackedPoints(result.outputs, inside, failed)
