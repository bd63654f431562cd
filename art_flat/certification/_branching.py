"""Branching: the ball is split by the signs of ReLU arguments, and the parts are bounded one by one.

On a part where s·z ≥ 0 holds for a ReLU's argument z, the ReLU is linear, and β·s·z with any β ≥ 0 may be added to
the bounded function; β and the lower slopes of undecided ReLUs are improved by gradient steps. The bound of the ball is
the largest of its parts' bounds at any time.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import torch

from ._activation import Activation
from ._ball import Ball
from ._branch_parts import Parts
from ._graph import Graph
from ._intervals import Bounds
from ._kinds import Certificate
from ._loss import chord_of_loss, loss_at, loss_from_chord
from ._preactivations import sharpened_bounds
from ._relaxation import Maximum
from ._rounding import gamma
from ._rows import as_shape, laid_out

_PARTS = 48
"""Number of parts that are split at once."""
_CANDIDATES = 6
"""Number of candidate arguments for the split of a part."""
_STEPS = 4
"""Gradient steps for each part, starting from the multipliers of its parent."""
_FIRST_STEPS = 20
"""Gradient steps for the whole ball."""
_RATE = 0.15
"""Step size, for slopes in [0, 1] and multipliers in units of the mean coefficient that they are added to."""


def branch(
    graph: Graph, ball: Ball, label: torch.Tensor, seconds: float, enough: float = -math.inf
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounds of the loss and of the largest margin for one sample.

    Args:
        graph: The net.
        ball: The region, of one sample.
        label: Shape (1,).
        seconds: Processor time of the calling thread; a started round of splits is finished.
        enough: Bound of the loss at which the search stops, nats.

    Returns:
        Upper bounds of the loss and of the largest margin, scalars; infinite where no ReLU can be split.
    """
    relus = _splittable(graph)
    if not relus:
        return ball.x.new_tensor(math.inf), ball.x.new_tensor(math.inf)
    return _Search(graph, ball, label, relus).run(seconds, enough)


def _splittable(graph: Graph) -> dict[int, int]:
    """Nodes of ReLUs without pooling, and of their arguments."""
    return {
        i: graph.nodes[i].inputs[0]
        for i in graph.activations
        if (step := graph.nodes[i].step) and isinstance(step, Activation)
        if step.function == Maximum(0.0) and len(step.taps) == 1
    }


class _Search:
    """The parts of one sample's ball, split one after the other."""

    def __init__(self, graph: Graph, ball: Ball, label: torch.Tensor, relus: dict[int, int]) -> None:
        self.graph, self.ball, self.label, self.relus = graph, ball, label, relus

    def run(self, seconds: float, enough: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Split the parts with the largest bounds until time is over or nothing is open.

        Args:
            seconds: Processor time.
            enough: A bound of the loss that is low enough.

        Returns:
            Upper bounds of the loss and of the largest margin, scalars.
        """
        end = time.thread_time() + seconds
        parts = self._root()
        while time.thread_time() < end and float(parts.value.amax()) > enough:
            order = parts.value.argsort(descending=True)
            chosen = order[: min(_PARTS, len(order))]
            is_open = (parts.score[chosen] > 0).any(1)
            if not bool(is_open[0]):
                break
            chosen = chosen[is_open & (parts.value[chosen] > enough)]
            rest = torch.ones(len(order), dtype=torch.bool, device=order.device).index_fill(0, chosen, False)
            halves = self._halves(parts.take(chosen))
            parts = parts.take(rest.nonzero()[:, 0])
            for half in halves:
                parts = parts.joined(half)
        return parts.value.amax(), parts.upper.amax()

    def _root(self) -> Parts:
        bounds = sharpened_bounds(self.graph, self.ball)
        found = Certificate(self.graph, self.ball, self.label)
        found.improve(bounds, through=True)
        sources = {self.graph.nodes[i].inputs[0] for i in self.graph.activations}
        known = {i: (bounds.lower[i], bounds.upper[i]) for i in sources}
        zero = {i: torch.zeros_like(laid_out(bounds.lower[i])) for i in self.relus.values()}
        alpha = {i: (bounds.lines[i].slope_mean - bounds.lines[i].slope_half)[0] for i in self.relus}
        beta = {i: z.clone() for i, z in zero.items()}
        score = torch.zeros_like(torch.cat([z.flatten(1) for z in zero.values()], dim=1))
        root = Parts(found.loss, found.lower, found.upper, score, known, zero, beta, alpha)
        return self._improved(root, bounds, _FIRST_STEPS)

    def _halves(self, parts: Parts) -> list[Parts]:
        """Every part as two, with bounds of their own; one group for each node that was split at."""
        chosen = self._choice(parts)
        halves, start = [], 0
        for source in self.relus.values():
            size = parts.signs[source][0].numel()
            here = ((chosen >= start) & (chosen < start + size)).nonzero()[:, 0]
            start += size
            if len(here):
                split = _split(parts.take(here), chosen[here])
                bounds = sharpened_bounds(
                    self.graph, self.ball.repeated(len(split)), split.known, after=source
                )
                halves.append(self._improved(split, bounds, _STEPS))
        return halves

    def _choice(self, parts: Parts) -> torch.Tensor:
        """For each part the argument whose split leaves the smaller bounds, among those with the largest scores."""
        n, count = len(parts), min(_CANDIDATES, parts.score.shape[1])
        scores, candidates = parts.score.topk(count, dim=1)
        if count == 1:
            return candidates[:, 0]
        tried = parts.take(torch.arange(n, device=scores.device).repeat_interleave(count))
        split = _split(tried, candidates.flatten())
        bounds = sharpened_bounds(
            self.graph, self.ball.repeated(len(split)), split.known, after=len(self.graph.nodes)
        )
        loss, _ = self._row(self._certificate(len(split)), split, bounds, split.alpha, split.beta)
        worst = torch.fmin(loss, split.value).view(2, n, count)
        rank = (worst.amax(0) + worst.mean(0)).masked_fill(scores <= 0, torch.inf)
        return candidates.gather(1, rank.argmin(1, keepdim=True))[:, 0]

    def _certificate(self, n: int) -> Certificate:
        return Certificate(self.graph, self.ball.repeated(n), self.label.expand(n))

    def _row(
        self,
        found: Certificate,
        parts: Parts,
        bounds: Bounds,
        alpha: dict[int, torch.Tensor],
        beta: dict[int, torch.Tensor],
        seen: dict[int, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The bound of the loss by one row with these slopes and multipliers, and the row's own bound.

        Returns:
            Both of shape (n,), the first without gradients.
        """
        lines = dict(bounds.lines)
        for i, source in self.relus.items():
            is_open = laid_out((bounds.lower[source] < 0) & (bounds.upper[source] > 0))
            upper = lines[i].slope_mean + lines[i].slope_half
            low = torch.where(is_open, alpha[i], upper[0])[None]
            bounds.lines[i] = replace(lines[i], slope_mean=(upper + low) / 2, slope_half=(upper - low) / 2)
        slopes, constant, top = chord_of_loss(parts.lower, parts.upper)
        added = {i: b * parts.signs[i] for i, b in beta.items()}
        row = found.row(bounds, slopes, added=added, seen=seen)
        bounds.lines.update(lines)
        return loss_from_chord(row.detach(), constant, top), row

    def _improved(self, parts: Parts, bounds: Bounds, n_steps: int) -> Parts:
        """The parts with lower bounds, by rows of the margins and gradient steps on β and the lower slopes."""
        known = {i: (bounds.lower[i], bounds.upper[i]) for i in parts.known}
        empty = torch.stack([(low > high).flatten(1).any(1) for low, high in known.values()]).any(0)
        found = self._certificate(len(parts))
        parts = replace(parts, known=known, upper=torch.fmin(parts.upper, found.margins(bounds)))
        parts.value = torch.fmin(parts.value, loss_at(parts.upper))
        seen: dict[int, torch.Tensor] = {}
        loss, _ = self._row(found, parts, bounds, parts.alpha, parts.beta, seen)
        scale = {
            s: seen[i].abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-12) for i, s in self.relus.items()
        }
        parts.value = torch.fmin(parts.value, loss)
        with torch.enable_grad():
            alpha = {i: a.clone().requires_grad_() for i, a in parts.alpha.items()}
            beta = {i: (b / scale[i]).requires_grad_() for i, b in parts.beta.items()}
            variables = [*alpha.values(), *beta.values()]
            optimiser = torch.optim.Adam(variables, lr=_RATE, betas=(0.7, 0.9))
            for _ in range(n_steps):
                loss, row = self._row(
                    found, parts, bounds, alpha, {i: b * scale[i] for i, b in beta.items()}, seen
                )
                parts.value = torch.fmin(parts.value, loss)
                parts.upper = torch.fmin(parts.upper, _margin_from_loss(parts.value)[:, None])
                for variable, gradient in zip(
                    variables, torch.autograd.grad(row.sum(), variables), strict=True
                ):
                    variable.grad = gradient
                optimiser.step()
                with torch.no_grad():
                    for b in beta.values():
                        b.clamp_(min=0)
                    for a in alpha.values():
                        a.clamp_(0, 1)
        parts.alpha = {i: a.detach() for i, a in alpha.items()}
        parts.beta = {i: b.detach() * scale[i] for i, b in beta.items()}
        parts.value = parts.value.masked_fill(empty, -torch.inf)
        parts.upper = parts.upper.masked_fill(empty[:, None], -torch.inf)
        scores = [
            _score(*known[s], as_shape(seen[i], self.graph.nodes[i].shape)) for i, s in self.relus.items()
        ]
        parts.score = torch.cat(scores, dim=1).detach().masked_fill(empty[:, None], 0.0)
        return parts


def _margin_from_loss(loss: torch.Tensor) -> torch.Tensor:
    """m_j ≤ log(exp(ℓ) − 1), rounded up; infinite without a bound on the loss."""
    margin = loss.clamp(min=1e-300).expm1().log()
    margin = torch.where(loss > 30, loss, margin)
    return (margin + gamma(0, loss.dtype) * (2 + margin.abs() + loss.abs())).nan_to_num(torch.inf)


def _split(parts: Parts, chosen: torch.Tensor) -> Parts:
    """Each part as two: its chosen argument at least 0 in the first half of the result, at most 0 in the second."""
    halves = []
    for sign in (1.0, -1.0):
        half, start = parts.take(torch.arange(len(chosen), device=chosen.device)), 0
        for i, signs in half.signs.items():
            size = signs[0].numel()
            here = torch.zeros(len(chosen), size, dtype=torch.bool, device=chosen.device)
            inside = (chosen >= start) & (chosen < start + size)
            here[inside, chosen[inside] - start] = True
            start += size
            low, high = half.known[i]
            here = here.view_as(low)
            half.signs[i] = torch.where(laid_out(here), sign, signs)
            half.known[i] = (
                (low.clamp(min=0) if sign > 0 else low).where(here, low),
                (high if sign > 0 else high.clamp(max=0)).where(here, high),
            )
        halves.append(half)
    return halves[0].joined(halves[1])


def _score(lower: torch.Tensor, upper: torch.Tensor, coefs: torch.Tensor) -> torch.Tensor:
    """The gap between a ReLU's lines times its coefficient."""
    is_open = (lower < 0) & (upper > 0)
    gap = torch.where(is_open, -lower * upper / (upper - lower), 0.0)
    return ((coefs.abs() + 1e-12) * gap).flatten(1)
