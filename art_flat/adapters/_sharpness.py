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
    """The part of `Adapter` that computes loss and sharpness; see there."""

    def loss(self, x: Array, y: Array, *, batch_size: int | None = None) -> Array:
        """Softmax cross-entropy ℓ = −log p_y.

        Args:
            x: Samples, shape (n, *input_shape).
            y: Labels, class indices (n,) or one-hot rows (n, k).
            batch_size: Samples per forward pass.

        Returns:
            Losses in nats, float64, shape (n,), in [0, ∞).

        Raises:
            InputError: If `x` or `y` cannot be used.
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
            InputError: If `x` or `definition` cannot be used.
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
            InputError: If `x` or `definition` cannot be used.
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
        """Everything above at once, with one forward pass per batch.

        Inputs and labels are checked once; after that no batch waits for the device of the one before.

        Args:
            x: Samples, shape (n, *input_shape).
            y: Labels, class indices (n,) or one-hot rows (n, k); without them there is no `"loss"`.
            definitions: Which relative sharpnesses.
            batch_size: Samples per forward pass.

        Returns:
            `"logits"` (n, k), `"features"` (n, d), `"loss"` (n,) in nats, and for every definition
            `"kappa_<definition>"` and `"log_kappa_<definition>"` (n,), each as the method for it gives it.

        Raises:
            InputError: If an argument cannot be used.
        """
        labels = None if y is None else check_labels(y, n_samples(x), self.nb_classes).to(self.device)
        names, values = self._measurements(labels, [check_definition(kind) for kind in definitions])
        return dict(zip(names, self._columns(x, values, batch_size), strict=True))

    def _measurements(
        self, labels: Tensor | None, kinds: Sequence[Definition]
    ) -> tuple[list[str], Callable[[Outputs, slice], list[Tensor]]]:
        """The names of what `measure` returns, and what gives it for a batch."""
        names = ["logits", "features"] if labels is None else ["logits", "features", "loss"]
        names += [f"{kappa}_{kind}" for kind in kinds for kappa in ("kappa", "log_kappa")]
        weights = _Weights(self, kinds)

        def values(out: Outputs, rows: slice) -> list[Tensor]:
            loss = [] if labels is None else [functional.cross_entropy(out.logits, labels[rows])]
            known = weights.now()
            kappas = [
                score(*out, definition=kind, **known)
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
    """The head's weight after each batch, with what every batch would compute anew from it."""

    def __init__(self, net: ForwardPasses, kinds: Sequence[Definition]) -> None:
        self._net, self._kinds = net, kinds
        self._scale: float | None = None
        self._known: dict[str, Tensor] = {}

    def now(self) -> dict[str, Tensor]:
        """Arguments of `functional.relative_sharpness`."""
        head = self._net._last_head
        if head.scale != self._scale:
            self._scale, self._known = head.scale, _known(self._kinds, head.weight)
        return self._known


def _known(kinds: Sequence[Definition], weight: Tensor) -> dict[str, Tensor]:
    known = {"weight": weight, "weight_norm": frobenius_norm(weight)}
    return known | ({"row_distances": squared_row_distances(weight)} if "neuronwise" in kinds else {})
