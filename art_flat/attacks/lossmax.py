"""art_flat's own loss maximisers, `art_flat:PGD` and `art_flat:APGD`.

Loss-change robustness is defined by the largest loss in the ball. The attacks of the libraries search for a wrong
prediction: they stop at the first flip, return the clean point where they fail, or return their last
iterate instead of their best. Here every sample is attacked to the end, the best iterate is kept, and the clean
point is one of the candidates.

Both follow the exact direction of the loss gradient without computing its norm. With u =
log Σ_{j≠y} exp(z_j) − z_y the loss is log(1 + eᵘ), increasing in u, and ∇u = Σ_{j≠y} π_j ∇z_j − ∇z_y with π the
softmax over the other classes. ∇ℓ is ∇u times 1 − p_y, which underflows on confident models; ∇u does not, so a
scaled head does not mask gradients here.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from ..adapters.base import Adapter
from ..functional.ascent import expand, shrink_to_ball, unit_step
from ..typing import Norm
from .base import Attack, AttackInfo, Problem, Steps
from .objectives import Evaluate, loss_objective, staged_objective

START_DRAWS = 25
"""Most gradients that APGD spends on the start point of a run."""
CONFIDENT = math.log(999)
"""log Σ_{j≠y} exp(z_j) − z_y from which the true class has a probability of at most 0.001."""


class _LossMaximiser(Attack):
    """Base class: restarts of `search`, which keep the best point of each sample."""

    def check(self, net: Adapter, norm: Norm) -> None:
        """Reject invalid parameters; see `Attack.check`."""
        for key in ("steps", "restarts"):
            self.require_count(key, self.settings[key])
        self.require_step("step_size", self.params.get("step_size"))

    def run(self, problem: Problem) -> torch.Tensor:
        """The point with the largest loss seen for each sample; see `Attack.run`."""
        assert problem.delta is not None
        generator = torch.Generator(device=problem.x.device).manual_seed(problem.seed)
        best = _Best(problem.x)
        for restart in range(self.settings["restarts"]):
            self.search(problem, best, generator, restart)
        return best.x

    @abstractmethod
    def search(self, problem: Problem, best: _Best, generator: torch.Generator, restart: int) -> None:
        """One run from one start, which passes every evaluated point to `best`."""


class PGD(_LossMaximiser):
    """Projected gradient ascent on the cross-entropy; the step is 2.5 δ/steps unless `step_size` is given.

    Parameters: `steps`, `restarts`, `step_size` (clip units), `random_start` (of the first run; later ones always).

    Source:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.
    """

    def fixed_steps(self, delta: float) -> Steps:
        """See `Attack.fixed_steps`."""
        count, size = self.settings["steps"], self.settings["step_size"]
        return Steps(2.5 * delta / count if size is None else size, count)

    def search(self, problem: Problem, best: _Best, generator: torch.Generator, restart: int) -> None:
        """See `_LossMaximiser.search`."""
        evaluate = loss_objective(problem)
        size, steps = self.fixed_steps(float(problem.delta or 0))
        x = problem.x
        if self.settings["random_start"] or restart:
            best.offer(x, ascent_value(evaluate, x))
            x = random_start(problem, generator)
        for _ in range(steps):
            value, grad = ascent_direction(evaluate, x)
            best.offer(x, value)
            x = to_ball(problem, x + size * unit_step(grad, problem.norm))
        best.offer(x, ascent_value(evaluate, x))


class APGD(_LossMaximiser):
    """Auto-PGD on the cross-entropy: momentum, and a step halved when progress stalls; restarts are random.

    Parameters: `steps`, `restarts`; and, for an attacker who knows that flatness is watched, `objective`, `within`,
    `score` and `definition`, see `StagedObjective`: `within={"log_kappa": (low, high)}` maximises the loss among
    wrong predictions with log κ in this range, `objective="sharp"` looks for the sharpest of them, `"flat"` for the
    flattest, and `objective="detector", score={"log_kappa": -1.0}` for the one with the smallest score.

    Source:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020, Algorithm 1 (momentum 0.75, ρ = 0.75). In L2 points are clipped to the
        range before they are moved into the ball, which reaches larger losses where many values are at an end of the
        range, as in MNIST (benchmarks/strength.py). In L∞ a run starts at the corner of the ball in the direction of
        the gradient at a random point, with a first step of δ instead of 2 δ; samples that are not confidently wrong
        there (true class above 0.001) start at that in the mean direction of gradients at random points, a quarter of
        the steps but at most 25, which reaches larger losses where many units are inactive, as after certified
        training. The last iterate has no gradient: `steps` gradients per run.
        With `start`, the first run begins there or, where that is better, as far in this direction as the ball allows.
    """

    def __init__(self, info: AttackInfo, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(info, params)
        with self._named():
            objective = self._objective = staged_objective(self.settings)
        plain = {
            key: dict(getattr(objective, key)) or None for key in ("within", "score") if key in self.params
        }
        self.params = {**self.params, **plain}  # numbers of NumPy would not be read again from the name
        if not objective.is_loss:
            note = "adaptive: its objective is not the largest loss in the ball"
            self.info = replace(info, maximises_loss=False, notes=(note,))

    def search(self, problem: Problem, best: _Best, generator: torch.Generator, restart: int) -> None:
        """See `_LossMaximiser.search`."""
        evaluate, steps = self._objective.on(problem), self.settings["steps"]
        best.offer(problem.x, ascent_value(evaluate, problem.x))
        first = 2.0 if problem.norm == "L2" else 1.0
        if problem.start is not None and restart == 0:
            start = _visited(evaluate, best, _extended_start(problem, evaluate, best))
            return _ascend(problem, evaluate, best, start, steps, first)
        start = _visited(evaluate, best, random_start(problem, generator))
        n_draws = min(START_DRAWS, steps // 4)
        if not n_draws or problem.norm != "Linf" or not self._objective.is_loss:
            return _ascend(problem, evaluate, best, start, steps, first)

        total = unit_step(start.grad, "L2")
        corner = _visited(evaluate, best, _corner(problem, total))
        is_open = (corner.value <= CONFIDENT) & (n_draws > 1)
        with best.of(~is_open) as part, corner.of(~is_open) as start:
            rest = problem.part(~is_open)
            _ascend(rest, self._objective.on(rest), part, start, steps - 1, first=1.0)
        with best.of(is_open) as part:
            rest = problem.part(is_open)
            evaluate = self._objective.on(rest)
            total = (total + unit_step(corner.grad, "L2"))[is_open]
            for _ in range(n_draws - 2):
                x = random_start(problem, generator)[is_open]  # drawn for all, so that none depends on others
                total += unit_step(_visited(evaluate, part, x).grad, "L2")
            start = _visited(evaluate, part, _corner(rest, total))
            _ascend(rest, evaluate, part, start, steps - n_draws, first=2.0)


def _ascend(
    problem: Problem, evaluate: Evaluate, best: _Best, start: _Best, steps: int, first: float
) -> None:
    """Auto-PGD from a visited start, whose gradient is one of `steps` in all; the first step is `first` δ."""
    if not len(problem.x):
        return
    x, value, grad = start.x, start.value, start.grad
    run_best = _Best(x, value, grad)
    delta = float(problem.delta or 0)
    size = torch.full_like(value, first * delta)
    previous, checkpoints = x, _checkpoints(steps)
    rises = torch.zeros_like(value)
    last_best, last_size = run_best.value.clone(), size.clone()
    since = 0
    for k in range(steps):
        step = expand(size, x).to(x.dtype)
        z = to_ball(problem, x + step * unit_step(grad, problem.norm))
        if k:
            z = to_ball(problem, x + 0.75 * (z - x) + 0.25 * (x - previous))
        previous, x = x, z
        if k + 1 == steps:  # its gradient would lead nowhere
            best.offer(x, ascent_value(evaluate, x))
            break
        new, grad = ascent_direction(evaluate, x)
        best.offer(x, new)
        rises += new > value
        value = new
        run_best.offer(x, value, grad)
        since += 1
        if k + 1 in checkpoints:
            stalled = rises < 0.75 * since
            stalled |= (size == last_size) & (run_best.value <= last_best)
            last_size, last_best = size.clone(), run_best.value.clone()
            size = torch.where(stalled, size / 2, size)
            x, grad = _pick(stalled, run_best.x, x), _pick(stalled, run_best.grad, grad)
            value = torch.where(stalled, run_best.value, value)
            previous = _pick(stalled, x, previous)
            rises, since = torch.zeros_like(rises), 0


class _Best:
    """The best point of each sample so far, with its value and, if given, its gradient."""

    def __init__(
        self, x: torch.Tensor, value: torch.Tensor | None = None, grad: torch.Tensor | None = None
    ) -> None:
        self.x = x.clone()
        nothing = torch.full((x.shape[0],), -math.inf, dtype=torch.float64, device=x.device)
        self.value = nothing if value is None else value.clone()
        self.grad = torch.zeros_like(x) if grad is None else grad.clone()

    def offer(self, x: torch.Tensor, value: torch.Tensor, grad: torch.Tensor | None = None) -> None:
        """Keep the points that are better than the current ones; NaN is never better."""
        better = value > self.value
        self.value = torch.where(better, value, self.value)
        self.x = _pick(better, x, self.x)
        if grad is not None:
            self.grad = _pick(better, grad, self.grad)

    @contextmanager
    def of(self, mask: torch.Tensor) -> Iterator[_Best]:
        """The best points of some samples; what is offered there is kept here."""
        part = _Best(self.x[mask], self.value[mask], self.grad[mask])
        yield part
        self.x[mask], self.value[mask] = part.x, part.value


def ascent_direction(evaluate: Evaluate, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rank of `x`, float64 (n,), and the gradient of what is ascended there, shape of `x`."""
    x = x.detach().requires_grad_(True)
    rank, value = evaluate(x)
    (grad,) = torch.autograd.grad(value.sum(), x)
    return rank, torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)


def ascent_value(evaluate: Evaluate, x: torch.Tensor) -> torch.Tensor:
    """The rank of `x`, float64 (n,)."""
    with torch.no_grad():
        return evaluate(x).rank


def to_ball(problem: Problem, points: torch.Tensor) -> torch.Tensor:
    """`points` moved into the ball of radius δ around the clean inputs, and clipped to the range."""
    if problem.norm == "L2":  # what a step loses at the ends of the range leaves room for the rest of it
        points = _clip(problem, points)
    shift = shrink_to_ball(points - problem.x, float(problem.delta or 0), problem.norm)
    return _clip(problem, problem.x + shift)


def _clip(problem: Problem, points: torch.Tensor) -> torch.Tensor:
    return torch.minimum(torch.maximum(points, problem.low), problem.high)


def random_start(problem: Problem, generator: torch.Generator) -> torch.Tensor:
    """Uniform in the L∞ ball, or in a random direction at a random length up to δ in L2; clipped to the range."""
    x, delta = problem.x, float(problem.delta or 0)
    draw: Callable[..., torch.Tensor] = torch.rand if problem.norm == "Linf" else torch.randn
    noise = draw(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    if problem.norm == "Linf":
        noise = (2 * noise - 1) * delta
    else:
        length = torch.rand((x.shape[0],), generator=generator, device=x.device, dtype=x.dtype)
        noise = unit_step(noise, "L2") * expand(length, x) * delta
    return to_ball(problem, x + noise)


def _visited(evaluate: Evaluate, best: _Best, x: torch.Tensor) -> _Best:
    """Points with their values and gradients, offered to `best`; the model is not asked about no points."""
    if not len(x):
        return _Best(x)
    value, grad = ascent_direction(evaluate, x)
    best.offer(x, value)
    return _Best(x, value, grad)


def _corner(problem: Problem, direction: torch.Tensor) -> torch.Tensor:
    """The point at distance δ in a direction."""
    return to_ball(problem, problem.x + float(problem.delta or 0) * unit_step(direction, problem.norm))


def _extended_start(problem: Problem, evaluate: Evaluate, best: _Best) -> torch.Tensor:
    """The better one of the given start and the point at distance δ in its direction, both in the ball."""
    assert problem.start is not None
    start = _Best(problem.start)
    shift = float(problem.delta or 0) * unit_step(problem.start - problem.x, problem.norm)
    for x in (to_ball(problem, problem.start), to_ball(problem, problem.x + shift)):
        value = ascent_value(evaluate, x)
        best.offer(x, value)
        start.offer(x, value)
    return start.x


def _checkpoints(steps: int) -> set[int]:
    """Checkpoints of APGD: p₀ = 0, p₁ = 0.22, p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06)."""
    before, now, points = 0.0, 0.22, set()
    while now <= 1:
        points.add(math.ceil(now * steps))
        before, now = now, now + max(now - before - 0.03, 0.06)
    return points


def _pick(mask: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
    return torch.where(expand(mask, no), yes, no)
