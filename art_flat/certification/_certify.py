"""Bounds of the loss over a ball of inputs, for any number of samples."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .._utils.modes import outside_inference_mode
from .._utils.numbers import check_count, check_delta, check_number
from .._utils.validation import check_inputs, check_labels, check_norm
from ..errors import InputError, UnknownNameError
from ..typing import Norm
from ._ball import Ball
from ._branching import branch
from ._graph import Graph
from ._kinds import CERTIFICATE_KINDS, CertificateKind, certificate, clean_loss_below
from ._tracing import trace

_BATCH_ELEMENTS = 4 << 20
"""Maximum number of values of a net, over all steps and the samples of a batch, in memory at once."""


class BallBounds(NamedTuple):
    """Certified bounds of every sample over its ball."""

    loss_increase: torch.Tensor
    """Upper bounds on the largest ℓ(ξ) − ℓ(x), ≥ 0, nats, float64, shape (n,); NaN or infinite without a bound."""
    worst_margin: torch.Tensor
    """Upper bounds on the largest max_{j≠y} z_j − z_y, logits, float64, shape (n,)."""

    @property
    def label_kept(self) -> torch.Tensor:
        """Whether the label y is certified to be predicted in the whole ball, bool, shape (n,)."""
        return self.worst_margin < 0


@outside_inference_mode
def bounds_in_ball(
    module: nn.Module | Graph,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    delta: float,
    norm: Norm = "Linf",
    kind: CertificateKind = "crown",
    clip_values: tuple[Any, Any] | None = (0.0, 1.0),
    mean: Any = None,
    std: Any = None,
    seconds: float | None = None,
    enough: float | None = None,
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> BallBounds:
    """Certified bounds of the loss and the margin over all ξ with ‖ξ − x‖ ≤ δ within the clip range.

    Every bound holds for the net in real arithmetic; the rounding error of the bound itself is added to it.

    | `kind`             | pre-activations are bounded by                                      | cost, passes       |
    |--------------------|---------------------------------------------------------------------|--------------------|
    | `"interval"`       | intervals; so is the loss                                           | about 5            |
    | `"crown_interval"` | intervals; the loss by linear functions carried backward            | about 50           |
    | `"crown"`          | linear functions carried backward from each                         | hundreds           |
    | `"branch"`         | as `"crown"`, on parts of the ball split by signs of ReLU arguments | `seconds` a sample |

    Each kind is the minimum of itself and the ones before it.

    Args:
        module: The net in evaluation mode, or its graph from `trace`.
        x: Samples, shape (n, *input_shape).
        y: Labels, indices (n,) or one-hot rows (n, k).
        delta: Radius δ > 0, units of the inputs.
        norm: `"Linf"`, `"L2"` or `"L1"`.
        kind: Kind of the bounds.
        clip_values: Smallest and largest value of an input; None for no limits.
        mean: Subtracted from the inputs before the net; for a module only, see `trace`.
        std: Divisor of the inputs after that.
        seconds: Limit of processor time per sample, required with `"branch"`.
        enough: Bound of the loss increase at which `"branch"` stops, nats; None to use the
            whole time.
        batch_size: Samples per batch, ≥ 1; None for as many as memory allows. It does not change the bounds
            beyond rounding.
        dtype: float64, or float32 for speed: bounds still hold, but are looser.

    Returns:
        The bounds, float64, on the device of x.

    Raises:
        InputError: If an argument is invalid, or the norm is L0.
        UnknownNameError: If the kind or norm is unknown.

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False)).eval()
    >>> _ = nn.init.eye_(net[0].weight)
    >>> bounds = bounds_in_ball(net, torch.tensor([[0.9, 0.1]]), torch.tensor([0]), delta=0.1)
    >>> bounds.label_kept.item(), round(bounds.worst_margin.item(), 6)
    (True, -0.6)
    """
    norm = _checked_norm(norm)
    delta = check_delta(delta)
    _check_options(kind, seconds, enough, batch_size, dtype)
    if isinstance(module, Graph) and (mean is not None or std is not None):
        raise InputError("`mean` and `std` are part of a traced graph; pass them to trace()")
    shape = module.input_shape if isinstance(module, Graph) else tuple(x.shape[1:])
    x = check_inputs(x, input_shape=shape).detach()
    graph = module if isinstance(module, Graph) else trace(module, shape, mean=mean, std=std)
    y = check_labels(y, len(x), graph.n_classes).to(x.device)
    if dtype == torch.float32 and x.dtype == torch.float64:
        raise InputError("float64 inputs would be rounded by dtype=torch.float32; pass float32 inputs")
    graph = graph.to(dtype, x.device)
    clip = _clip(clip_values, x, dtype)
    size = batch_size or max(1, _BATCH_ELEMENTS // sum(math.prod(n.shape) for n in graph.nodes))
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        parts = [
            _batch(graph, Ball(a.to(dtype), delta, norm, clip), b, kind, seconds, enough)
            for a, b in zip(torch.split(x, size), torch.split(y, size), strict=True)
        ]
    return BallBounds(*(torch.cat(part).to(torch.float64) for part in zip(*parts, strict=True)))


def loss_increase_in_ball(
    module: nn.Module | Graph, x: torch.Tensor, y: torch.Tensor, *, delta: float, **options: Any
) -> torch.Tensor:
    """Upper bounds on the largest increase of the loss over a ball of inputs.

    Args:
        module: The net in evaluation mode, or its graph from `trace`.
        x: Samples, shape (n, *input_shape).
        y: Labels, indices (n,) or one-hot rows (n, k).
        delta: Radius δ > 0, units of the inputs.
        **options: As in `bounds_in_ball`.

    Returns:
        Bounds ≥ 0, nats, float64, shape (n,).

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False)).eval()
    >>> _ = nn.init.eye_(net[0].weight)
    >>> loss_increase_in_ball(net, torch.tensor([[0.9, 0.1]]), torch.tensor([0]), delta=0.1).shape
    torch.Size([1])
    """
    return bounds_in_ball(module, x, y, delta=delta, **options).loss_increase


def _batch(
    graph: Graph,
    ball: Ball,
    labels: torch.Tensor,
    kind: CertificateKind,
    seconds: float | None,
    enough: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    found = certificate(graph, ball, labels, kind)
    loss, margin = found.loss, found.upper.amax(1)
    clean = clean_loss_below(graph, ball.x, labels)
    if seconds is not None:
        goal = clean + (-math.inf if enough is None else enough)
        open_ = (~(loss <= goal)).nonzero()[:, 0]
        for i in open_.tolist():
            of_parts = branch(graph, ball.sample(i), labels[i : i + 1], seconds, float(goal[i]))
            loss[i], margin[i] = torch.fmin(loss[i], of_parts[0]), torch.fmin(margin[i], of_parts[1])
    return (loss - clean).clamp(min=0), margin


def _checked_norm(value: Any) -> Norm:
    norm: Norm = check_norm(value)
    if norm == "L0":
        raise InputError(
            'there are no bounds over L0 balls; use norm="L1" or "L2": δ elements within a range r lie at most '
            "δ · r apart in L1 and √δ · r in L2"
        )
    return norm


def _check_options(kind: Any, seconds: Any, enough: Any, batch_size: Any, dtype: torch.dtype) -> None:
    if kind not in CERTIFICATE_KINDS:
        raise UnknownNameError("kind of certificate", kind, CERTIFICATE_KINDS)
    if kind == "branch" and seconds is None:
        raise InputError(
            'kind="branch" needs `seconds`, the limit of processor time per sample; pass it, such as seconds=10'
        )
    if kind != "branch" and seconds is not None:
        raise InputError(f'`seconds` is for kind="branch"; the kind is {kind!r}, leave it out')
    if seconds is not None:
        check_number(seconds, "seconds", "seconds for each sample", above=0.0)
    if enough is not None:
        if kind != "branch":
            raise InputError(f'`enough` is for kind="branch"; the kind is {kind!r}')
        check_number(enough, "enough", "loss increase", at_least=0.0)
    if batch_size is not None:
        check_count(batch_size, "batch_size", of="samples")
    if dtype not in {torch.float32, torch.float64}:
        raise InputError(f"`dtype` must be torch.float64 or torch.float32, got {dtype}")


def _clip(
    clip_values: tuple[Any, Any] | None, x: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = (
        torch.as_tensor(np.asarray(v), dtype=torch.float64).to(x.device)
        for v in ((-math.inf, math.inf) if clip_values is None else clip_values)
    )
    if not bool((low <= high).all()):
        raise InputError(f"`clip_values` must be (smallest, largest), got {clip_values}")
    return low.to(dtype), high.to(dtype)
