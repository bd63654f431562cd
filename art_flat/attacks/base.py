"""Base class of attacks: `Attack.__call__` enforces the contract, subclasses implement `run`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
import torch

from .._utils.arrays import like, synchronize, to_numpy
from .._utils.random import rng_was_used, seeded_rng
from .._utils.timeouts import interruptible
from .._utils.validation import (
    check_count,
    check_delta,
    check_inputs,
    check_labels,
    check_norm,
    check_number,
    reject_eps_argument,
)
from ..adapters.base import Adapter, Outputs, Passes
from ..errors import AttackNotUsableError, BudgetError, InputError, ModelChangedError, ParameterError, closest
from ..functional import cross_entropy, snap_into_balls
from ..typing import Norm
from ._parameters import read_parameter
from .problem import AttackResult as AttackResult
from .problem import Problem as Problem
from .problem import Steps as Steps

if TYPE_CHECKING:
    from ..typing import Array


class Attack(ABC):
    """An attack on an adapted classifier; a subclass writes `run`.

    Args:
        info: What is known of the attack.
        params: Its parameters, by the library's own names; checked against `info.defaults`.

    Raises:
        ParameterError: If a parameter does not exist; the message names the closest one.
    """

    reduce_to_name: ClassVar[Callable[[Attack], tuple[Any, ...] | None]] = staticmethod(lambda attack: None)
    """How to pickle an attack by its name alone, or None where that is not possible; set by the registry."""

    def __init__(self, info: AttackInfo, params: Mapping[str, Any] | None = None) -> None:
        params = dict(params or {})
        for key in params.keys() - info.defaults.keys():
            hint = closest(key, info.defaults)
            known = " or ".join(map(repr, hint)) if hint else ", ".join(sorted(info.defaults)) or "none"
            raise ParameterError(f"{info.name} has no parameter {key!r}; did you mean {known}?")
        self.info = info
        self.params: Mapping[str, Any] = {
            key: read_parameter(info.name, key, value, info.defaults[key]) for key, value in params.items()
        }

    @abstractmethod
    def run(self, problem: Problem) -> torch.Tensor:
        """Adversarial points for `problem`, same shape as `problem.x`; everything else is done around it."""

    def check(self, net: Adapter, norm: Norm) -> None:  # noqa: B027  (most attacks need no further check)
        """Refuse, before running, a classifier or norm this attack cannot deal with.

        Raises:
            AttackNotUsableError: With the reason.
        """

    def require_count(self, key: str, value: Any) -> None:
        """Refuse a parameter that is not a whole number of at least 1.

        Raises:
            InputError: With the attack and the parameter.
        """
        with self._named():
            check_count(value, key)

    def require_step(self, key: str, value: Any) -> None:
        """Refuse a step size that is neither None nor a number above 0.

        Raises:
            InputError: With the attack and the parameter.
        """
        with self._named():
            if value is not None:
                check_number(value, key, "units of the classifier's clip_values", above=0.0)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            raise InputError(f"{self.info.name}: {error}") from None

    def fixed_steps(self, delta: float) -> Steps | None:
        """Size and number of its steps at radius `delta`, both in clip units.

        Args:
            delta: Radius.

        Returns:
            None if it does not walk a fixed number of steps of one size.
        """
        return None

    @property
    def name(self) -> str:
        """The attack with its parameters, as `load_attack` takes it."""
        inner = ", ".join(f"{k}={v!r}" for k, v in sorted(self.params.items()))
        return f"{self.info.name}({inner})" if inner else self.info.name

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that identify the attack, its parameters and its library's version."""
        key = json.dumps([self.name, self.info.version], ensure_ascii=False)
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"<attack {self.name}>"

    def __reduce__(self) -> Any:
        return Attack.reduce_to_name(self) or super().__reduce__()

    @final
    @reject_eps_argument
    def __call__(
        self,
        net: Adapter,
        x: Array,
        y: Array,
        *,
        delta: float | None = None,
        norm: Any = None,
        target: Array | None = None,
        seed: int = 0,
        clean: Outputs | None = None,
        estimate_gradients: bool = False,
        radii: Mapping[Norm, Sequence[float]] | None = None,
    ) -> AttackResult:
        """Attack `x` and measure what came back.

        Args:
            net: The adapted classifier, from `art_flat.adapt`.
            x: Clean inputs, shape (n, ...), inside the clip range.
            y: True labels, indices (n,) or one-hot (n, k).
            delta: Radius of the ball in clip units; may be left out for attacks without a fixed budget.
            norm: `"Linf"`, `"L2"`, `"L1"` or `"L0"`; by default the attack's first norm.
            target: Target labels for a targeted attack.
            seed: Seed of everything random; the caller's generators are not touched.
            clean: Logits and features at `x`, where they are known already.
            estimate_gradients: Where a preprocessing defence has no gradient, go along the estimate that the
                defence declares (often the identity) instead of refusing.
            radii: Norm → further radii at which the points will be read: rounding errors do not put a point outside
                any of these balls, nor outside that of `delta`; see `art_flat.functional.snap_into_balls`.

        Returns:
            The points and what was measured of them.

        Raises:
            InputError: If an argument cannot be used.
            AttackNotUsableError: If the attack cannot run on this classifier, norm or target.
            UnsupportedEstimatorError: If it needs gradients that a defence does not have.
            BudgetError: If the attack returned points of another shape.
            ModelChangedError: If the attack changed the model's weights, which are restored.
        """
        norm = self.info.norms[0] if norm is None else check_norm(norm)
        self._check_call(net, norm, delta, target)
        inputs = check_inputs(
            x, input_shape=net.input_shape, clip_values=net.clip_values, feature_names=net.feature_names
        )
        dtype = torch.promote_types(
            net.dtype, torch.float32
        )  # in half precision points would round out of the ball
        inputs = inputs.detach().to(net.device, dtype)
        n = inputs.shape[0]
        labels = check_labels(y, n, net.nb_classes).to(net.device)
        targets = None if target is None else check_labels(target, n, net.nb_classes, "target").to(net.device)
        low, high = (torch.as_tensor(np.asarray(v), dtype=dtype, device=net.device) for v in _clip(net))
        inputs = torch.minimum(torch.maximum(inputs, low), high)
        delta = None if delta is None else check_delta(delta)
        if clean is None:
            clean = net.outputs(inputs)

        module = net.as_module(estimate_gradients=estimate_gradients or self.info.access != "white-box")
        problem = Problem(net, module, inputs, labels, targets, delta, norm, low, high, int(seed))
        with (
            net.guard() as changed,
            seeded_rng(problem.seed, net.device),
            net.counting() as passes,
            _quiet() as said,
        ):
            synchronize(net.device)
            started = time.perf_counter()
            with interruptible():
                points = self.run(problem)
            synchronize(net.device)
            seconds = time.perf_counter() - started
            random = rng_was_used(problem.seed)
        if "weights" in changed:
            raise ModelChangedError(
                f"{self.name} changed the model's weights while it ran, so its points are not those of this model; "
                "the weights were restored"
            )
        points, finite = _repair(points, problem)
        points, measured = snap_into_balls(inputs, points, self._balls(problem, radii))
        inside = torch.ones_like(finite) if delta is None else measured[norm] <= delta
        outputs = net.outputs(points)
        success = _fooled(outputs.logits, problem) & inside & finite
        status = _status(points, success, finite, outputs, clean, problem)
        return AttackResult(
            x=like(points, x),
            success=like(success, x),
            distance=like(measured[norm], x),
            within_budget=like(inside, x),
            status=status,
            distances={m: to_numpy(d) for m, d in measured.items()},
            outputs=outputs,
            forwards=passes.forwards / n,
            backwards=passes.backwards / n,
            seconds=seconds,
            warnings=(*said, *_side_effects(changed, random, int((~inside & finite).sum()))),
            attack=self.name,
            norm=norm,
            delta=delta,
            seed=problem.seed,
        )

    def own_radius(self, problem: Problem) -> float | None:
        """The radius, in clip units, that the attack keeps to regardless of `delta`; None if it has none."""
        return None

    def _balls(
        self, problem: Problem, radii: Mapping[Norm, Sequence[float]] | None
    ) -> Iterator[tuple[Norm, float]]:
        """Every ball in which the points may count."""
        for delta in (problem.delta, self.own_radius(problem)):
            if delta is not None:
                yield problem.norm, delta
        for norm, deltas in (radii or {}).items():
            yield from ((norm, delta) for delta in deltas)

    def _check_call(self, net: Adapter, norm: Norm, delta: float | None, target: Array | None) -> None:
        if not isinstance(net, Adapter):
            raise InputError(
                f"{self.info.name} was given {type(net).__name__}; pass an adapted classifier: art_flat.adapt(...)"
            )
        if self.info.usability == "refused":
            raise AttackNotUsableError(f"{self.info.name} cannot be used: {self.info.reason}")
        if norm not in self.info.norms:
            raise AttackNotUsableError(
                f"{self.info.name} does not support the norm {norm}; it supports {', '.join(self.info.norms)}"
            )
        if delta is None and self.info.budget == "fixed":
            raise InputError(
                f"{self.info.name} needs `delta`, the radius in units of the classifier's clip_values"
            )
        if target is not None and not self.info.targeted:
            raise AttackNotUsableError(f"{self.info.name} takes no target class; leave `target` out")
        self.check(net, norm)


def _clip(net: Adapter) -> tuple[Any, Any]:
    if net.clip_values is None:
        raise InputError(
            "the classifier has no clip_values, so no attack knows the admissible range; "
            "build it with clip_values=(low, high)"
        )
    return net.clip_values


def _side_effects(changed: Sequence[str], random: bool, outside: int) -> Iterator[str]:
    """What an attack did beside finding points."""
    if changed:
        yield f"changed the model's {', '.join(changed)} (restored)"
    if random:
        yield "drew from the global random generators (seeded, restored)"
    if outside:
        yield f"left the ball at {outside} points"


@contextlib.contextmanager
def _quiet() -> Iterator[list[str]]:
    """Keep warnings and prints of a library from the user's terminal; the list gets their texts."""
    said: list[str] = []
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(record=True) as caught, torch.enable_grad():
        warnings.simplefilter("always")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                yield said
            finally:
                texts = [f"{w.category.__name__}: {w.message}" for w in caught]
                texts += [line for stream in (out, err) for line in stream.getvalue().splitlines()]
                said += dict.fromkeys(t.strip() for t in texts if t.strip())


def _repair(points: torch.Tensor, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Points clipped to the range, and which of them were finite."""
    x = problem.x
    if not isinstance(points, torch.Tensor) or points.shape != x.shape:
        got = tuple(points.shape) if hasattr(points, "shape") else type(points).__name__
        raise BudgetError(f"the attack returned {got} where points of shape {tuple(x.shape)} were expected")
    points = points.detach().to(x.device, x.dtype)
    finite = torch.isfinite(points).flatten(1).all(dim=1)
    points = torch.where(finite.view(-1, *[1] * (x.ndim - 1)), points, x)
    return torch.minimum(torch.maximum(points, problem.low), problem.high), finite


def _fooled(logits: torch.Tensor, problem: Problem) -> torch.Tensor:
    label = logits.argmax(dim=1)
    known = ~torch.isnan(logits).any(dim=1)
    return known & ((label == problem.target) if problem.target is not None else (label != problem.y))


def _status(
    points: torch.Tensor,
    success: torch.Tensor,
    finite: torch.Tensor,
    outputs: Outputs,
    clean: Outputs,
    problem: Problem,
) -> np.ndarray:
    fallback = (points == problem.x).flatten(1).all(dim=1)
    if problem.target is None:
        worse = cross_entropy(outputs.logits, problem.y) < cross_entropy(clean.logits, problem.y)
        fallback |= worse & ~success
    status = np.where(to_numpy(fallback), "fallback", "ok")
    return np.where(to_numpy(finite), status, "failed")


__all__ = [
    "Access",
    "Attack",
    "AttackInfo",
    "AttackResult",
    "Budget",
    "Passes",
    "Problem",
    "Steps",
    "Usability",
]


Access = Literal["white-box", "black-box", "none"]


Budget = Literal["fixed", "minimum-norm", "none"]


Usability = Literal["usable", "degraded", "refused"]


@dataclass(frozen=True)
class AttackInfo:
    """What is known of an attack before it is built; `art-flat attacks` lists it.

    Attributes:
        name: `"library:Name"`, as `load_attack` takes it.
        build: Called with the attack's parameters, gives the attack.
        norms: Norms of the ball it can be confined to, or the norm it minimises.
        access: What it needs of the model: gradients, outputs only, or nothing.
        budget: `"fixed"`: it takes δ; `"minimum-norm"`: it runs once and seeks the nearest point;
            `"none"`: neither (its points are measured and read at every δ).
        maximises_loss: Whether it maximises the cross-entropy in the ball; if not, a loss change found
            by it says little about (δ, ε)-robustness.
        targeted: Whether it takes a target class.
        usability: `"usable"`, `"degraded"` or `"refused"`, with the `reason`.
        reason: Why it is not simply usable.
        notes: Facts about its behaviour that a reader of its results should know.
        version: Version of the library it comes from.
        defaults: Its parameters with their default values.
    """

    name: str
    build: Callable[..., Attack]
    norms: tuple[Norm, ...]
    access: Access = "white-box"
    budget: Budget = "fixed"
    maximises_loss: bool = False
    targeted: bool = False
    usability: Usability = "usable"
    reason: str = ""
    notes: tuple[str, ...] = ()
    version: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
