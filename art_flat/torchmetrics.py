"""Flatness and loss-change robustness as metrics of torchmetrics, for training and evaluation loops.

Needs the package torchmetrics: `pip install "art-flat[torchmetrics]"`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._utils.numbers import check_epsilon
from ._utils.validation import check_definition, check_labels
from .errors import InputError
from .functional import cross_entropy, relative_sharpness
from .typing import DEFINITIONS, Definition

try:
    from torchmetrics import Metric
except ModuleNotFoundError as error:  # pragma: no cover
    if error.name != "torchmetrics":
        raise
    raise ModuleNotFoundError(
        'art_flat.torchmetrics needs the package torchmetrics: pip install "art-flat[torchmetrics]"',
        name="torchmetrics",
    ) from None


class RelativeSharpness(Metric):  # type: ignore[misc]  # torchmetrics may be missing
    """Mean relative sharpness κ over all samples of all processes.

    Args:
        definition: Definition of κ: `"paper"`, `"neuronwise"` or `"unsquared"`.
        **options: Options of `torchmetrics.Metric`.

    Attributes:
        total: Sum of κ, nats, float64.
        n_evaluated: Number of samples.

    >>> import torch
    >>> metric = RelativeSharpness()
    >>> metric.update(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.eye(2))
    >>> metric.update(torch.zeros(1, 2), torch.tensor([[0.0, 0.0]]), torch.eye(2))
    >>> float(metric.compute())
    12.5
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    total: Tensor
    n_evaluated: Tensor

    def __init__(self, *, definition: Definition = "paper", **options: Any) -> None:
        super().__init__(**options)
        self.definition = check_definition(definition)
        _mark(self, DEFINITIONS.index(definition))
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_evaluated", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, features: Tensor, weight: Tensor) -> None:
        """Add a batch.

        Args:
            logits: Shape (n, k).
            features: Input φ of the last layer, shape (n, d).
            weight: Current weight W of the last layer, shape (k, d).
        """
        kappa = relative_sharpness(logits, features, weight.detach(), definition=self.definition)
        self.total += kappa.detach().sum(dtype=torch.float64)
        self.n_evaluated += len(kappa)

    def compute(self) -> Tensor:
        """The mean of κ.

        Returns:
            κ in nats, float64, ≥ 0; NaN if a sample's κ is NaN or there are no samples.
        """
        return self.total / self.n_evaluated


class LossChangeRobustness(Metric):  # type: ignore[misc]
    """Share of samples, over all processes, whose loss rises by at most ε at their adversarial points.

    The rules are those of `scores.loss_change_robustness_score`: undefined outputs count as not robust, samples that
    no attack finished are excluded.

    Args:
        epsilon: Tolerated loss change ε ≥ 0, nats.
        **options: Options of `torchmetrics.Metric`.

    Attributes:
        robust: Number of robust samples.
        n_evaluated: Number of samples that were not excluded.

    Source: (δ,ε)-robustness: arXiv 2510.14231.

    >>> import torch
    >>> metric = LossChangeRobustness(epsilon=0.1)
    >>> clean = torch.tensor([[0.6, 0.1, 0.1], [0.6, 0.1, 0.1]])
    >>> adv = torch.tensor([[0.6, 0.7, -5.0], [0.6, 0.5, 0.5]])
    >>> metric.update(clean, adv, torch.tensor([0, 0]))   # the first flips, yet its loss falls
    >>> float(metric.compute())
    0.5
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    robust: Tensor
    n_evaluated: Tensor

    def __init__(self, *, epsilon: float, **options: Any) -> None:
        super().__init__(**options)
        self.epsilon = check_epsilon(epsilon)
        _mark(self, self.epsilon)
        self.add_state("robust", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("n_evaluated", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        logits: Tensor,
        logits_adv: Tensor,
        target: Tensor,
        admissible: Tensor | None = None,
        finished: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            logits: Clean logits, shape (n, k).
            logits_adv: Adversarial logits, shape (n, k), or (m, n, k) for m attacks: the worst point counts.
            target: True labels, indices (n,) or one-hot (n, k).
            admissible: Mask of the adversarial points in the ball, bool, (n,) or (m, n); the others count as no
                change. All if None.
            finished: Mask of the points that an attack finished, bool, (n,) or (m, n). All if None.

        Raises:
            InputError: If shapes or labels do not fit.
        """
        points = logits_adv[None] if logits_adv.ndim == 2 else logits_adv
        if points.ndim != 3 or points.shape[1:] != logits.shape or len(points) == 0:
            raise InputError(
                f"`logits_adv` has shape {tuple(logits_adv.shape)}, expected {tuple(logits.shape)}, or with a "
                "leading axis of attacks"
            )
        classes = max(2, logits.shape[-1])
        labels = check_labels(target, len(logits), classes, "target").to(logits.device)
        clean = cross_entropy(logits, labels)
        change = torch.stack([cross_entropy(z, labels) for z in points]) - clean
        change = change.masked_fill(change.isnan(), torch.inf)
        if admissible is not None:
            change = change.masked_fill(~_mask(admissible, change, "admissible"), 0.0)
        is_known = torch.ones_like(clean, dtype=torch.bool)
        if finished is not None:
            done = _mask(finished, change, "finished")
            change, is_known = change.masked_fill(~done, -torch.inf), clean.isnan() | done.any(dim=0)
        robust = (change.amax(dim=0) <= self.epsilon) & ~clean.isnan()
        self.robust += (robust & is_known).sum()
        self.n_evaluated += is_known.sum()

    def compute(self) -> Tensor:
        """The share of robust samples.

        Returns:
            A number in [0, 1], an upper estimate, since attacks may miss the largest loss; NaN if every
            sample was excluded.
        """
        return self.robust / self.n_evaluated


def _mask(values: Tensor, change: Tensor, name: str) -> Tensor:
    mask = values[None] if values.ndim == 1 else values
    if mask.shape != change.shape:
        raise InputError(
            f"`{name}` has shape {tuple(values.shape)} for adversarial points {tuple(change.shape)}"
        )
    return mask.bool().to(change.device)


def _mark(metric: Metric, value: float) -> None:
    # A MetricCollection lets metrics share one state if theirs are equal after the first batch; metrics with other
    # settings may be equal by chance then, and differ later.
    metric.add_state("setting", torch.tensor(value, dtype=torch.float64), dist_reduce_fx="max")
