"""Bounds of the loss over a ball, for each kind of certificate."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch

from ._backward import upper_bounds
from ._ball import Ball
from ._graph import Graph
from ._intervals import Bounds
from ._loss import chord_of_loss, loss_at, loss_from_chord, margin_matrix
from ._preactivations import in_chunks, interval_bounds, sharpened_bounds
from ._rounding import gamma
from ._rows import Owners, Rows

CertificateKind = Literal["interval", "crown_interval", "crown", "branch"]
"""Kinds of bounds over a ball; each includes the ones before it."""
CERTIFICATE_KINDS: tuple[CertificateKind, ...] = get_args(CertificateKind)


class Certificate:
    """The smallest bounds found so far for the samples of one batch."""

    def __init__(self, graph: Graph, ball: Ball, labels: torch.Tensor) -> None:
        self.graph, self.ball = graph, ball
        self.matrix = margin_matrix(labels, graph.nodes[-1].shape[0], ball.x.dtype)
        n, n_margins, _ = self.matrix.shape
        self.lower = ball.x.new_full((n, n_margins), -torch.inf)
        """Lower bounds of the margins m_j = z_j − z_y."""
        self.upper = -self.lower
        self.loss = ball.x.new_full((n,), torch.inf)
        """Upper bounds of the loss, nats."""

    def improve(self, bounds: Bounds, *, through: bool, tight: bool = True) -> None:
        """Tighten the bounds by rows of the margins and of the loss.

        Args:
            bounds: Bounds of every step.
            through: Whether rows go through nonlinear steps.
            tight: Whether to find the exact optimum over the region for the margins.
        """
        self.upper = torch.fmin(self.upper, self._margins(bounds, 1.0, through, tight))
        self.lower = torch.fmax(self.lower, -self._margins(bounds, -1.0, through, tight=False))
        slopes, constant, top = chord_of_loss(self.lower, self.upper)
        row = self.row(bounds, slopes, through=through)
        self.loss = torch.fmin(self.loss, loss_from_chord(row, constant, top))
        self.loss = torch.fmin(self.loss, loss_at(self.upper))

    def margins(self, bounds: Bounds) -> torch.Tensor:
        """Upper bounds of the margins by rows through all steps.

        Returns:
            Shape (n, k − 1).
        """
        return self._margins(bounds, 1.0, through=True)

    def _margins(self, bounds: Bounds, sign: float, through: bool, tight: bool = True) -> torch.Tensor:
        n, n_margins, k = self.matrix.shape
        sample = torch.arange(n, device=self.matrix.device).repeat_interleave(n_margins)
        rows = Rows(sign * self.matrix.reshape(n * n_margins, 1, 1, k), Owners(sample))
        return self._bounds(bounds, rows, through, tight).view(n, n_margins)

    def row(
        self, bounds: Bounds, slopes: torch.Tensor, *, through: bool = True, **options: Any
    ) -> torch.Tensor:
        """An upper bound on Σ slopes·m, including the rounding error of the sum of the rows.

        Args:
            bounds: Bounds of every step.
            slopes: Shape (n, k − 1).
            through: Whether the row is propagated through nonlinear steps.
            **options: Options of `upper_bounds`.

        Returns:
            Shape (n,).
        """
        n, n_margins, k = self.matrix.shape
        coefs = (slopes[:, None] @ self.matrix).view(n, 1, 1, k)
        rows, last = Rows(coefs, Owners(torch.arange(n, device=coefs.device))), len(self.graph.nodes) - 1
        smallest, _ = upper_bounds(bounds, self.ball, last, rows, through=through, tight=True, **options)
        logits = torch.maximum(bounds.lower[-1].abs(), bounds.upper[-1].abs())
        size = (slopes[:, None] @ self.matrix.abs()).squeeze(1)
        return smallest + gamma(n_margins, smallest.dtype) * (size * logits).sum(1)

    def _bounds(self, bounds: Bounds, rows: Rows, through: bool, tight: bool = True) -> torch.Tensor:
        last = len(self.graph.nodes) - 1
        if not through:  # small: they stop at the last nonlinear step
            return upper_bounds(bounds, self.ball, last, rows, through=False, tight=tight)[0]
        return in_chunks(bounds, self.ball, last, rows, tight=tight)


def certificate(graph: Graph, ball: Ball, labels: torch.Tensor, kind: CertificateKind) -> Certificate:
    """The bounds of one kind and of all cheaper ones."""
    smallest = Certificate(graph, ball, labels)
    bounds = interval_bounds(graph, ball)
    smallest.improve(bounds, through=False)
    full = kind in {"crown", "branch"} and bool(graph.activations)
    if kind != "interval":
        smallest.improve(bounds, through=True, tight=not full)
    if full:
        smallest.improve(sharpened_bounds(graph, ball), through=True)
    return smallest


def clean_loss_below(graph: Graph, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """A lower bound on the loss at the samples themselves, within rounding of the loss.

    The loss is convex in the margins: ℓ(m) ≥ ℓ(m₀) + ⟨∇ℓ(m₀), m − m₀⟩, with m₀ as computed and one backward row
    for what the margins of exact arithmetic can be.

    Returns:
        Shape (n,), nats.
    """
    point = Ball(x, 0.0, "Linf", (x.amin(0), x.amax(0)))
    smallest = Certificate(graph, point, labels)
    margins = (smallest.matrix @ graph.forward(x)[:, :, None]).squeeze(2)
    top = margins.amax(1).clamp(min=0)
    weights = (margins - top[:, None]).exp()
    total = (-top).exp() + weights.sum(1)
    slopes = weights / total[:, None]
    row = smallest.row(interval_bounds(graph, point), -slopes)
    loss, at = top + total.log(), (slopes * margins).sum(1)
    slack = gamma(margins.shape[1], x.dtype) * (2 + 2 * top + loss + (slopes * margins.abs()).sum(1))
    return loss - at - row - slack
