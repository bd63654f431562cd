"""Branching: the ball is split by the signs of ReLU arguments, and the parts are bounded one by one.

On a part where s·z ≥ 0 is known for a ReLU's argument z, the ReLU is linear, and β·s·z with any β ≥ 0 may be added to
what is bounded; β and the lower slopes of open ReLUs are improved by gradient steps. The bound of the ball is the
largest of its parts' bounds at any time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from ._activation import Activation
from ._ball import Ball
from ._graph import Graph
from ._intervals import Bounds
from ._kinds import Certificate
from ._loss import chord_of_loss, loss_from_chord
from ._preactivations import Known, sharpened_bounds
from ._relaxation import Maximum
from ._rows import as_shape, laid_out

_PARTS = 16
"""Parts that are split at a time."""
_STEPS = 12
"""Gradient steps for each part."""


@dataclass
class Parts:
    """Parts of one sample's ball."""

    value: torch.Tensor
    """Upper bounds of the loss, shape (n,), nats."""
    margin: torch.Tensor
    """Upper bounds of the largest margin, shape (n,)."""
    known: Known
    """Bounds of the arguments of every ReLU."""
    signs: dict[int, torch.Tensor]
    """Per node of such arguments: 1 or −1 where the part is one side of 0, else 0, shape (n, *shape)."""
    score: torch.Tensor
    """How much each argument's openness costs, of all nodes side by side, shape (n, d); 0 where it is decided."""

    def take(self, index: torch.Tensor) -> Parts:
        """Some of the parts."""
        known = {i: (low[index], high[index]) for i, (low, high) in self.known.items()}
        signs = {i: s[index] for i, s in self.signs.items()}
        return Parts(self.value[index], self.margin[index], known, signs, self.score[index])

    def joined(self, other: Parts) -> Parts:
        """These and other parts."""
        known = {
            i: (torch.cat([low, other.known[i][0]]), torch.cat([high, other.known[i][1]]))
            for i, (low, high) in self.known.items()
        }
        signs = {i: torch.cat([s, other.signs[i]]) for i, s in self.signs.items()}
        values = (torch.cat([getattr(self, n), getattr(other, n)]) for n in ("value", "margin", "score"))
        value, margin, score = values
        return Parts(value, margin, known, signs, score)


def branch(
    graph: Graph, ball: Ball, labels: torch.Tensor, seconds: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounds of the loss and of the largest margin for each sample.

    Args:
        graph: The net.
        ball: The region, of one batch of samples.
        labels: Shape (n,).
        seconds: Time for each sample; a started round of splits is finished.

    Returns:
        Upper bounds of the loss (n,) and of the largest margin (n,); infinite where no ReLU can be split.
    """
    found = [_branch_one(graph, ball.sample(i), labels[i : i + 1], seconds) for i in range(len(labels))]
    loss, margin = (torch.stack(t) for t in zip(*found, strict=True))
    return loss, margin


def _branch_one(
    graph: Graph, ball: Ball, label: torch.Tensor, seconds: float
) -> tuple[torch.Tensor, torch.Tensor]:
    end = time.monotonic() + seconds
    relus = _splittable(graph)
    infinite = ball.x.new_full((), torch.inf)
    if not relus:
        return infinite, infinite
    zero = {
        i: torch.zeros(1, *graph.nodes[i].shape, dtype=ball.x.dtype, device=ball.x.device)
        for i in relus.values()
    }
    nowhere = {i: (z - torch.inf, z + torch.inf) for i, z in zero.items()}
    start = Parts(infinite[None], infinite[None], nowhere, zero, ball.x.new_zeros(1, 0))
    parts = _bounded(graph, ball, label, relus, start)
    while time.monotonic() < end:
        order = parts.value.argsort(descending=True)
        chosen = order[: min(_PARTS, len(order))]
        if not bool((parts.score[chosen[0]] > 0).any()):
            break
        chosen = chosen[(parts.score[chosen] > 0).any(1)]
        rest = torch.ones(len(order), dtype=torch.bool, device=order.device).index_fill(0, chosen, False)
        halves = _bounded(graph, ball, label, relus, _split(parts.take(chosen)))
        parts = parts.take(rest.nonzero()[:, 0]).joined(halves)
    return parts.value.amax(), parts.margin.amax()


def _splittable(graph: Graph) -> dict[int, int]:
    """Nodes of ReLUs without pooling, and of their arguments."""
    return {
        i: graph.nodes[i].inputs[0]
        for i in graph.activations
        if (step := graph.nodes[i].step) and isinstance(step, Activation)
        if step.function == Maximum(0.0) and len(step.taps) == 1
    }


def _split(parts: Parts) -> Parts:
    """Each part as two: the argument with the largest score at least 0, and at most 0."""
    chosen = parts.score.argmax(1)
    halves = []
    for sign in (1.0, -1.0):
        half, start = parts.take(torch.arange(len(chosen), device=chosen.device)), 0
        for i, signs in half.signs.items():
            size = signs[0].numel()
            here = torch.zeros(len(chosen), size, dtype=torch.bool, device=chosen.device)
            inside = (chosen >= start) & (chosen < start + size)
            here[inside, chosen[inside] - start] = True
            here, start = here.view_as(signs), start + size
            low, high = half.known[i]
            half.signs[i] = torch.where(here, sign, signs)
            half.known[i] = (
                (low.clamp(min=0) if sign > 0 else low).where(here, low),
                (high if sign > 0 else high.clamp(max=0)).where(here, high),
            )
        halves.append(half)
    return halves[0].joined(halves[1])


def _bounded(graph: Graph, ball: Ball, label: torch.Tensor, relus: dict[int, int], parts: Parts) -> Parts:
    """The parts with bounds of their own, never worse than those of the parts that they were split from."""
    n = len(parts.value)
    balls, labels = ball.repeated(n), label.expand(n)
    bounds = sharpened_bounds(graph, balls, parts.known)
    found = Certificate(graph, balls, labels)
    found.improve(bounds, through=True)
    coefs = _improved(found, bounds, relus, parts.signs)
    known = {i: (bounds.lower[i], bounds.upper[i]) for i in parts.known}
    empty = torch.stack([(low > high).flatten(1).any(1) for low, high in known.values()]).any(0)
    value = torch.fmin(found.loss, parts.value).masked_fill(empty, -torch.inf)
    margin = torch.fmin(found.upper.amax(1), parts.margin).masked_fill(empty, -torch.inf)
    scores = [_score(*known[source], as_shape(coefs[i], graph.nodes[i].shape)) for i, source in relus.items()]
    return Parts(value, margin, known, parts.signs, torch.cat(scores, dim=1).masked_fill(empty[:, None], 0.0))


def _score(lower: torch.Tensor, upper: torch.Tensor, coefs: torch.Tensor) -> torch.Tensor:
    """The gap between a ReLU's lines times the coefficient that it meets."""
    is_open = (lower < 0) & (upper > 0)
    gap = torch.where(is_open, -lower * upper / (upper - lower), 0.0)
    return ((coefs.abs() + 1e-12) * gap).flatten(1)


def _improved(
    found: Certificate, bounds: Bounds, relus: dict[int, int], signs: dict[int, torch.Tensor]
) -> dict[int, torch.Tensor]:
    """Lower the bounds of the loss by gradient steps on multipliers and lower slopes, within their ranges.

    Returns:
        Coefficients that each nonlinear node meets in the row of the loss.
    """
    slopes, constant, top = chord_of_loss(found.lower, found.upper)
    lines, seen = dict(bounds.lines), dict[int, torch.Tensor]()
    sides = {i: laid_out(s) for i, s in signs.items()}
    with torch.enable_grad():
        beta = {i: torch.zeros_like(s, requires_grad=True) for i, s in sides.items()}
        alpha = {i: (lines[i].slope_mean - lines[i].slope_half).detach().requires_grad_() for i in relus}
        upper = {i: lines[i].slope_mean + lines[i].slope_half for i in relus}
        variables = [*beta.values(), *alpha.values()]
        optimiser = torch.optim.Adam(
            [{"params": list(beta.values()), "lr": 0.02}, {"params": list(alpha.values()), "lr": 0.2}]
        )
        for _ in range(_STEPS):
            for i, source in relus.items():
                is_open = laid_out((bounds.lower[source] < 0) & (bounds.upper[source] > 0))[None]
                low = torch.where(is_open, alpha[i], upper[i])
                bounds.lines[i] = replace(
                    lines[i], slope_mean=(upper[i] + low) / 2, slope_half=(upper[i] - low) / 2
                )
            added = {i: beta[i] * side for i, side in sides.items()}
            row = found.row(bounds, slopes, added=added, seen=seen)
            found.loss = torch.fmin(found.loss, loss_from_chord(row.detach(), constant, top))
            gradients = torch.autograd.grad(row.sum(), variables)
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.grad = gradient
            optimiser.step()
            with torch.no_grad():
                for b in beta.values():
                    b.clamp_(min=0)
                for a in alpha.values():
                    a.clamp_(0, 1)
    bounds.lines.update(lines)
    return {i: c.detach() for i, c in seen.items()}
