"""Bounds over balls of inputs of an adapted estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from .. import certification
from .._utils.arrays import like
from .._utils.modes import outside_inference_mode
from .._utils.validation import check_labels
from ..errors import UnsupportedEstimatorError
from ._forward_passes import ForwardPasses
from ._graph import BoundableNet, same_logits, trace_net
from .outputs import InputBallBounds

if TYPE_CHECKING:
    from ..certification import CertificateKind, Graph
    from ..typing import Array, Norm


class BallBounds(ForwardPasses):
    """Mixin of `Adapter` with the certificates."""

    _traced: tuple[tuple[str, ...], Graph] | None = None
    """State of the model when it was traced, and its graph."""

    @outside_inference_mode
    def bounds_in_ball(
        self,
        x: Array,
        y: Array,
        *,
        delta: float,
        norm: Norm = "Linf",
        kind: CertificateKind = "crown",
        seconds: float | None = None,
        enough: float | None = None,
        batch_size: int | None = None,
    ) -> InputBallBounds:
        """Certified bounds of the loss and the margin over the ball ‖ξ − x‖ ≤ δ within the clip range.

        The bounds hold for the model in real arithmetic and in eval mode, head and mean/std preprocessing
        included; the rounding errors of the bounds themselves are added to them.

        Args:
            x: Samples, shape (n, *input_shape).
            y: Labels, class indices (n,) or one-hot rows (n, k).
            delta: Radius δ > 0, units of `clip_values`.
            norm: `"Linf"`, `"L2"` or `"L1"`.
            kind: `"interval"`, `"crown_interval"`, `"crown"` or `"branch"`, each the minimum of itself and the
                cheaper ones before it; see `art_flat.certification.bounds_in_ball`.
            seconds: Limit of processor time per sample, required with `"branch"`.
            enough: Bound of the loss increase at which `"branch"` stops, nats.
            batch_size: Samples per batch; None for as many as memory allows.

        Returns:
            Bounds per sample on the loss increase (nats) and on the worst margin (logits), and a mask of the samples
            whose label is certified; float64, in the same kind of array as `x`.

        Raises:
            InputError: If an argument cannot be used, or the norm is L0.
            UnknownNameError: If the kind or norm is unknown.
            UnsupportedEstimatorError: If a preprocessing defence cannot be bounded.
            UnsupportedLayerError: If a layer cannot be bounded; the error names it.
        """
        inputs = self._checked(x)
        labels, graph = check_labels(y, len(inputs), self.nb_classes), self._graph(inputs[:2])
        bounds = certification.bounds_in_ball(
            graph, inputs.to(graph.device), labels.to(graph.device), delta=delta, norm=norm, kind=kind,
            clip_values=self.clip_values, seconds=seconds, enough=enough, batch_size=batch_size,
        )  # fmt: skip
        return InputBallBounds(like(bounds.loss_increase, x), like(bounds.worst_margin, x))

    def loss_increase_in_ball(
        self,
        x: Array,
        y: Array,
        *,
        delta: float,
        norm: Norm = "Linf",
        kind: CertificateKind = "crown",
        seconds: float | None = None,
        enough: float | None = None,
        batch_size: int | None = None,
    ) -> Array:
        """Upper bounds on the largest increase of the loss, max ℓ(ξ, y) − ℓ(x, y) over ‖ξ − x‖ ≤ δ.

        Args:
            x: Samples, shape (n, *input_shape).
            y: Labels, class indices (n,) or one-hot rows (n, k).
            delta: Radius δ > 0, units of `clip_values`.
            norm: `"Linf"`, `"L2"` or `"L1"`.
            kind: Kind of the bounds; see `bounds_in_ball`.
            seconds: Limit of processor time per sample, required with `"branch"`.
            enough: Bound of the loss increase at which `"branch"` stops, nats.
            batch_size: Samples per batch.

        Returns:
            Bounds ≥ 0, nats, float64, shape (n,); NaN or +inf without a bound.

        Raises:
            InputError: As for `bounds_in_ball`, as are the other errors.
        """
        return self.bounds_in_ball(
            x, y, delta=delta, norm=norm, kind=kind, seconds=seconds, enough=enough, batch_size=batch_size
        ).loss_increase

    def _graph(self, samples: Tensor) -> Graph:
        """The graph of the current model, traced again only if the model has changed.

        Args:
            samples: A few inputs on which the graph must reproduce the model's logits.

        Returns:
            The graph, float64, on the model's device.

        Raises:
            UnsupportedEstimatorError: If there are no bounds for the estimator.
        """
        state, logits = tuple(self.identity().values()), self.outputs(samples).logits
        traced = self._traced
        if traced is None or traced[0] != state or not same_logits(traced[1], samples, logits):
            traced = (state, self._trace())
            if not same_logits(traced[1], samples, logits):
                raise UnsupportedEstimatorError(
                    f"no bounds over a ball for {self!r}: its layers give other logits than the estimator; a hook, "
                    "or arithmetic in a type with few digits, changes them. Certify with a known Lipschitz constant"
                )
            self._traced = traced
        return traced[1]

    def _trace(self) -> Graph:
        """The graph of the current model; from `as_module` unless a subclass overrides it."""
        return trace_net(BoundableNet(self.as_module()), self.input_shape)
