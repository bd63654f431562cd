"""Base class of attacks: `Attack.__call__` enforces the contract, subclasses implement `run`."""

from __future__ import annotations

import contextlib
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch

from .._utils.formatting import counted
from .._utils.modes import outside_inference_mode
from .._utils.numbers import check_count, check_delta, check_levels, check_number, check_radii, check_seed
from .._utils.validation import check_inputs, check_keywords, check_labels, check_norm, unique_keys
from ..adapters.base import Adapter, Outputs, Passes
from ..errors import AttackNotUsableError, InputError, ModelChangedError, ParameterError, closest
from ..typing import Norm
from ._guarded_run import run_guarded
from ._measured_result import measured_result
from ._parameters import call_text, read_parameter
from .info import Access as Access
from .info import AttackInfo as AttackInfo
from .info import Budget as Budget
from .info import Usability as Usability
from .problem import AttackResult as AttackResult
from .problem import CheckedArguments as CheckedArguments
from .problem import Problem as Problem
from .problem import Steps as Steps

if TYPE_CHECKING:
    from ..typing import Array


class Attack(ABC):
    """An attack on an adapted classifier; subclasses implement `run`.

    Args:
        info: Registry entry of the attack.
        params: Its parameters, with the library's names; validated against `info.defaults`.

    Raises:
        ParameterError: If a parameter does not exist; the message names the closest one.
    """

    reduce_to_name: ClassVar[Callable[[Attack], tuple[Any, ...] | None]] = staticmethod(lambda attack: None)
    """Hook to pickle an attack by its name alone, or None if that is not possible; set by the registry."""

    def __init__(self, info: AttackInfo, params: Mapping[str, Any] | None = None) -> None:
        params = dict(params or {})
        for key in params.keys() - info.defaults.keys():
            hint = closest(key, info.defaults)
            choices = " or ".join(map(repr, hint)) if hint else ", ".join(sorted(info.defaults)) or "none"
            raise ParameterError(f"{info.name} has no parameter {key!r}; did you mean {choices}?")
        self.info = info
        self.params: Mapping[str, Any] = {
            key: read_parameter(info.name, key, value, info.defaults[key]) for key, value in params.items()
        }

    @abstractmethod
    def run(self, problem: Problem) -> torch.Tensor:
        """Adversarial points for `problem`, same shape as `problem.x`; `__call__` handles everything else."""

    def check(self, net: Adapter, norm: Norm) -> None:  # noqa: B027  (most attacks need no further check)
        """Reject, before running, a classifier or norm that this attack does not support.

        Raises:
            AttackNotUsableError: With the reason.
        """

    def require_count(self, key: str, value: Any) -> None:
        """Require a parameter to be an integer of at least 1.

        Raises:
            InputError: With the attack and the parameter.
        """
        with self._named():
            check_count(value, key)

    def require_step(self, key: str, value: Any) -> None:
        """Require a step size to be None or a number above 0.

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
            delta: Radius in clip units.

        Returns:
            The steps; None if it does not take a fixed number of steps of one size.
        """
        return None

    @property
    def name(self) -> str:
        """The attack with its parameters, as accepted by `load_attack`."""
        inner = ", ".join(f"{k}={v!r}" for k, v in sorted(self.params.items()))
        return f"{self.info.name}({inner})" if inner else self.info.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """All parameters with their values, those that were not given with their defaults."""
        return {**self.info.defaults, **self.params}

    @property
    def short_name(self) -> str:
        """The name for tables: without the parameters that have their default values; see `call_text`."""
        return call_text(self.info.name, self.params, self.info.defaults)

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
    @check_keywords
    @outside_inference_mode
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
        levels: int | None = None,
        start: Array | None = None,
    ) -> AttackResult:
        """Attack `x` and measure the returned points.

        Args:
            net: The adapted classifier, from `art_flat.adapt`.
            x: Clean inputs, shape (n, ...), inside the clip range.
            y: True labels, indices (n,) or one-hot (n, k).
            delta: Radius of the ball in clip units; optional for attacks without a fixed budget.
            norm: `"Linf"`, `"L2"`, `"L1"` or `"L0"`; by default the attack's first norm.
            target: Target labels for a targeted attack.
            seed: Seed for all random number generators; the caller's generators are unchanged.
            clean: Logits and features at `x`, if they are already known.
            estimate_gradients: Where a preprocessing defence has no gradient, use the estimate that the
                defence declares (often the identity) instead of raising an error.
            radii: Norm → further radii at which the points will be read: rounding errors do not put a point outside
                any of these balls, nor outside that of `delta`; see `art_flat.functional.snap_into_balls`.
            levels: Number of equally spaced values of the clip range, such as 256 for 8-bit images, to which the
                points are rounded before they are measured; see `art_flat.functional.round_to_levels`.
            start: Points from which the search begins, shape of `x`, such as those found at a smaller radius; only
                for attacks whose registry entry says `takes_start`. Their projections into the ball are candidates.

        Returns:
            The points and their measurements.

        Raises:
            InputError: If an argument is invalid.
            AttackNotUsableError: If the attack cannot run on this classifier, norm or target.
            UnsupportedEstimatorError: If it needs gradients that a defence does not have.
            BudgetError: If the attack returned points of another shape.
            ModelChangedError: If the attack changed the model's weights, which are restored.
        """
        if not isinstance(net, Adapter):
            raise InputError(
                f"{self.info.name} was given {type(net).__name__}; pass an adapted classifier: art_flat.adapt(...)"
            )
        norm = self.info.norms[0] if norm is None else check_norm(norm)
        self._require_usable(net, norm, delta, target)
        inputs = check_inputs(
            x, input_shape=net.input_shape, clip_values=net.clip_values, feature_names=net.feature_names
        )
        n = inputs.shape[0]
        checked = CheckedArguments(
            x=inputs,
            y=check_labels(y, n, net.nb_classes),
            norm=norm,
            delta=None if delta is None else check_delta(delta),
            target=None if target is None else check_labels(target, n, net.nb_classes, "target"),
            seed=check_seed(seed),
            clean=clean,
            estimate_gradients=estimate_gradients,
            radii={n: check_radii(d) for n, d in unique_keys(radii or {}, check_norm, "radii").items()},
            levels=check_levels(levels),
            start=self._checked_start(net, start, inputs),
        )
        return self._solve(net, checked).in_kind_of(x)

    def _checked_start(self, net: Adapter, start: Array | None, x: torch.Tensor) -> torch.Tensor | None:
        if start is None:
            return None
        if not self.info.takes_start:
            raise AttackNotUsableError(f"{self.info.name} chooses its own start; omit `start`")
        points = check_inputs(
            start, input_shape=net.input_shape, clip_values=net.clip_values, name="start"
        ).to(x)
        if points.shape != x.shape:
            raise InputError(
                f"`start` has {counted(len(points), 'point')} for {counted(len(x), 'sample')}; pass one for each"
            )
        return points

    @outside_inference_mode
    def solve(self, net: Adapter, checked: CheckedArguments) -> AttackResult:
        """`__call__` with validated arguments.

        Args:
            net: The adapted classifier.
            checked: The arguments.

        Returns:
            The points and their measurements, tensors on the classifier's device.
        """
        self._require_usable(net, checked.norm, checked.delta, checked.target)
        return self._solve(net, checked)

    def _solve(self, net: Adapter, checked: CheckedArguments) -> AttackResult:
        estimate = checked.estimate_gradients or self.info.access != "white-box"
        problem = Problem.from_checked(net, checked, net.as_module(estimate_gradients=estimate))
        clean = net.outputs_unchecked(problem.x) if checked.clean is None else checked.clean
        run = run_guarded(self.run, problem)
        if "weights" in run.changed:
            raise ModelChangedError(
                f"{self.name} changed the model's weights while it ran, so its points are not those of this model; "
                "the weights were restored"
            )
        return measured_result(
            self.name, run, problem, clean, self._balls(problem, checked.radii), checked.levels
        )

    def own_radius(self, problem: Problem) -> float | None:
        """The radius, in clip units, that the attack uses regardless of `delta`; None if it has none."""
        return None

    def _balls(self, problem: Problem, radii: Mapping[Norm, Sequence[float]]) -> Iterator[tuple[Norm, float]]:
        """The balls in which the points may count."""
        for delta in (problem.delta, self.own_radius(problem)):
            if delta is not None:
                yield problem.norm, delta
        for norm, deltas in radii.items():
            yield from ((norm, delta) for delta in deltas)

    def _require_usable(self, net: Adapter, norm: Norm, delta: float | None, target: Array | None) -> None:
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
            raise AttackNotUsableError(f"{self.info.name} does not take a target class; omit `target`")
        self.check(net, norm)


__all__ = [
    "Access",
    "Attack",
    "AttackInfo",
    "AttackResult",
    "Budget",
    "CheckedArguments",
    "Passes",
    "Problem",
    "Steps",
    "Usability",
]
