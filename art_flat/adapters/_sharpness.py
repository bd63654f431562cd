"""Loss and relative sharpness of an adapted estimator, per sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from .. import functional
from .._utils.arrays import n_samples
from .._utils.validation import check_definition, check_labels
from ..functional._logits import frobenius_norm, squared_row_distances
from ..typing import DEFINITIONS
from ._forward_passes import ForwardPasses
from .outputs import Outputs

if TYPE_CHECKING:
    from ..typing import Array, Definition


class SharpnessPerSample(ForwardPasses):
    """Mixin of `Adapter` that computes loss and sharpness."""

    def loss(self, x: Array, y: Array, *, batch_size: int | None = None) -> Array:
        """Softmax cross-entropy ℓ = −log p_y.

        Args:
            x: Samples, shape (n, *input_shape).
            y: Labels, class indices (n,) or one-hot rows (n, k).
            batch_size: Samples per forward pass.

        Returns:
            Losses in nats, float64, shape (n,), in [0, ∞).

        Raises:
            InputError: If `x` or `y` is invalid.
        """
        labels = check_labels(y, self._checked(x).shape[0], self.nb_classes).to(self.device)
        return self._per_sample(
            x, lambda out, rows: functional.cross_entropy(out.logits, labels[rows]), batch_size
        )

    def relative_sharpness(
        self, x: Array, *, definition: Definition = "paper", batch_size: int | None = None
    ) -> Array:
        """Relative sharpness κ of the head, ‖W‖_F² · Tr H in the paper's definition.

        Args:
            x: Samples, shape (n, *input_shape).
            definition: `"paper"`, `"neuronwise"` or `"unsquared"`; see `functional.relative_sharpness`.
            batch_size: Samples per forward pass.

        Returns:
            κ in nats, shape (n,), in [0, ∞).

        Raises:
            InputError: If `x` or `definition` is invalid.
        """
        return self._sharpness(functional.relative_sharpness, x, definition, batch_size)

    def log_relative_sharpness(
        self, x: Array, *, definition: Definition = "paper", batch_size: int | None = None
    ) -> Array:
        """The logarithm of κ, finite where κ itself underflows.

        Args:
            x: Samples, shape (n, *input_shape).
            definition: `"paper"`, `"neuronwise"` or `"unsquared"`; see `functional.relative_sharpness`.
            batch_size: Samples per forward pass.

        Returns:
            log κ, shape (n,).

        Raises:
            InputError: If `x` or `definition` is invalid.
        """
        return self._sharpness(functional.log_relative_sharpness, x, definition, batch_size)

    def hessian_trace(self, x: Array, *, batch_size: int | None = None) -> Array:
        """Trace of the loss's Hessian in the head's weight, Tr H = ‖φ‖² Σ p(1−p).

        Args:
            x: Samples, shape (n, *input_shape).
            batch_size: Samples per forward pass.

        Returns:
            Tr H, shape (n,), in [0, ∞).
        """
        return self._per_sample(x, lambda out, rows: functional.hessian_trace(*out), batch_size)

    def measure(
        self,
        x: Array,
        y: Array | None = None,
        *,
        definitions: Sequence[Definition] = DEFINITIONS,
        batch_size: int | None = None,
    ) -> dict[str, Array]:
        """All quantities above at once, with one forward pass per batch.

        Inputs and labels are checked once; after that batches do not synchronise with the device.

        Args:
            x: Samples, shape (n, *input_shape).
            y: Labels, class indices (n,) or one-hot rows (n, k); without them there is no `"loss"`.
            definitions: Definitions of the relative sharpness.
            batch_size: Samples per forward pass.

        Returns:
            `"logits"` (n, k), `"features"` (n, d), `"loss"` (n,) in nats, and for every definition
            `"kappa_<definition>"` and `"log_kappa_<definition>"` (n,), equal to the results of the single methods.

        Raises:
            InputError: If an argument is invalid.
        """
        labels = None if y is None else check_labels(y, n_samples(x), self.nb_classes).to(self.device)
        names, values = self._measurements(labels, [check_definition(kind) for kind in definitions])
        return dict(zip(names, self._columns(x, values, batch_size), strict=True))

    def _measurements(
        self, labels: Tensor | None, kinds: Sequence[Definition]
    ) -> tuple[list[str], Callable[[Outputs, slice], list[Tensor]]]:
        """The keys of the result of `measure`, and a function that computes the values of a batch."""
        names = ["logits", "features"] if labels is None else ["logits", "features", "loss"]
        names += [f"{kappa}_{kind}" for kind in kinds for kappa in ("kappa", "log_kappa")]
        weights = _Weights(self, kinds)

        def values(out: Outputs, rows: slice) -> list[Tensor]:
            loss = [] if labels is None else [functional.cross_entropy(out.logits, labels[rows])]
            cached = weights.now()
            kappas = [
                score(*out, definition=kind, **cached)
                for kind in kinds
                for score in (functional.relative_sharpness, functional.log_relative_sharpness)
            ]
            return [*out, *loss, *kappas]

        return names, values

    def _sharpness(
        self, score: Callable[..., Tensor], x: Array, definition: Definition, batch_size: int | None
    ) -> Array:
        definition = check_definition(definition)
        weights = _Weights(self, [definition])
        return self._per_sample(
            x, lambda out, rows: score(*out, definition=definition, **weights.now()), batch_size
        )


class _Weights:
    """The head's weight at each batch, with cached quantities that depend on it."""

    def __init__(self, net: ForwardPasses, kinds: Sequence[Definition]) -> None:
        self._net, self._kinds = net, kinds
        self._scale: float | None = None
        self._known: dict[str, Tensor] = {}

    def now(self) -> dict[str, Tensor]:
        """Arguments of `functional.relative_sharpness`."""
        head = self._net._last_head
        if head.scale != self._scale:
            self._scale, self._known = head.scale, _weight_quantities(self._kinds, head.weight)
        return self._known


def _weight_quantities(kinds: Sequence[Definition], weight: Tensor) -> dict[str, Tensor]:
    cached = {"weight": weight, "weight_norm": frobenius_norm(weight)}
    return cached | ({"row_distances": squared_row_distances(weight)} if "neuronwise" in kinds else {})
