"""Logits and features of an estimator in batches: the abstract methods of `Adapter`, and those built on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._utils.arrays import like
from .._utils.modes import outside_inference_mode
from .._utils.validation import check_inputs
from ._batches import Results, check_batch_size, default_batch_size, map_batches
from .outputs import Head, Outputs, clip_pair

if TYPE_CHECKING:
    from ..typing import Array


class ForwardPasses(ABC):
    """Mixin of `Adapter` that runs the model."""

    feature_names: Sequence[str] | None = None

    def __init__(
        self,
        estimator: Any,
        *,
        nb_classes: int,
        input_shape: tuple[int, ...],
        clip_values: Any,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.estimator = estimator
        self.nb_classes = int(nb_classes)
        self.input_shape = tuple(int(s) for s in input_shape)
        self.clip_values = clip_pair(clip_values, self.input_shape)
        self.device = device
        self.dtype = dtype
        self._batch_size = default_batch_size(self.input_shape)

    @property
    @abstractmethod
    def head(self) -> Head:
        """The current linear head; it follows the weights if the model is trained further."""

    @abstractmethod
    def forward(self, x: Tensor) -> Outputs:
        """Logits and features of one validated batch on `device`."""

    @abstractmethod
    def as_module(self, *, unit_range: bool = False, estimate_gradients: bool = False) -> nn.Module:
        """The same function, x ↦ logits, as a module through which gradients with respect to x flow.

        The module takes x in units of `clip_values`, shape (n, *input_shape), of any floating type, and
        applies the estimator's preprocessing. It always computes in eval mode,
        leaves no gradient in the model's parameters, and shares them.

        Args:
            unit_range: Take x in [0, 1] and rescale it to `clip_values` first.
            estimate_gradients: Where a preprocessing defence has no gradient, use the estimate that the
                defence itself provides instead of raising an error.

        Returns:
            A module that returns logits of shape (n, k).

        Raises:
            UnsupportedEstimatorError: If a defence has no gradient and `estimate_gradients` is False.
            InputError: If `unit_range` is True and the estimator has no `clip_values`.
        """

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """The identity of the model.

        Returns:
            `estimator` and `model` (class names), `sha256` over the weights, the preprocessing and the clip range,
            and optionally `code` over the model's code: equal for equal classifiers, in any process.
        """

    def outputs(self, x: Array, *, batch_size: int | None = None) -> Outputs:
        """Logits and features, one forward pass per batch.

        Args:
            x: Samples, shape (n, *input_shape).
            batch_size: Samples per forward pass; chosen from the sample's size if None. Halved while the
                device runs out of memory.

        Returns:
            Logits (n, k) and features (n, d) on `device`, without a graph, for any kind of array `x`.

        Raises:
            InputError: If `x` has another shape, NaN, or lies outside `clip_values`.
        """
        return self.outputs_unchecked(self._checked(x), batch_size=batch_size)

    def outputs_unchecked(self, x: Tensor, *, batch_size: int | None = None) -> Outputs:
        """`outputs` of samples that have been validated, or were computed by art_flat.

        Args:
            x: Samples, floating, finite, in the clip range, shape (n, *input_shape), on any device.
            batch_size: Samples per forward pass.

        Returns:
            Logits (n, k) and features (n, d) on `device`, without a graph.
        """
        return Outputs(*self._batched(x, lambda out, rows: out, batch_size, self.device))

    def logits(self, x: Array, *, batch_size: int | None = None) -> Array:
        """Logits z = W φ + b; a logistic model with one output gives [−z/2, z/2].

        Args:
            x: Samples, shape (n, *input_shape).
            batch_size: Samples per forward pass.

        Returns:
            Logits, shape (n, k).

        Raises:
            InputError: If `x` has another shape than the classifier takes, values outside its clip range, or NaN.
        """
        return self._per_sample(x, lambda out, rows: out.logits, batch_size)

    def features(self, x: Array, *, batch_size: int | None = None) -> Array:
        """Features φ, the input of the head.

        Args:
            x: Samples, shape (n, *input_shape).
            batch_size: Samples per forward pass.

        Returns:
            Features, shape (n, d).

        Raises:
            InputError: If `x` has another shape than the classifier takes, values outside its clip range, or NaN.
        """
        return self._per_sample(x, lambda out, rows: out.features, batch_size)

    def predict(self, x: Array, *, batch_size: int | None = None) -> Array:
        """Predicted class, argmax z.

        Args:
            x: Samples, shape (n, *input_shape).
            batch_size: Samples per forward pass.

        Returns:
            Class indices, int64, shape (n,).

        Raises:
            InputError: If `x` has another shape than the classifier takes, values outside its clip range, or NaN.
        """
        return self._per_sample(x, lambda out, rows: out.logits.argmax(dim=1), batch_size)

    @property
    def _last_head(self) -> Head:
        """The head at the last forward pass; by default the current head."""
        return self.head

    def _per_sample(
        self, x: Array, function: Callable[[Outputs, slice], Tensor], batch_size: int | None
    ) -> Array:
        (column,) = self._columns(x, lambda out, rows: (function(out, rows),), batch_size)
        return column

    def _columns(
        self, x: Array, function: Callable[[Outputs, slice], Sequence[Tensor]], batch_size: int | None
    ) -> list[Array]:
        home = x.device if isinstance(x, Tensor) else torch.device("cpu")
        columns = self._batched(self._checked(x), function, batch_size, home)
        return [like(column, x) for column in columns]

    @outside_inference_mode
    def _batched(
        self,
        inputs: Tensor,
        function: Callable[[Outputs, slice], Sequence[Tensor]],
        batch_size: int | None,
        home: torch.device,
    ) -> list[Tensor]:
        # Each batch is reduced at once: memory holds one batch and the results.
        results = Results(home, inputs.shape[0])
        size = self._batch_size if batch_size is None else check_batch_size(batch_size)
        # A model may write into its input, so it gets a copy.
        used = map_batches(
            lambda rows: function(self.forward(inputs[rows].to(self.device, copy=True)), rows),
            inputs.shape[0],
            size,
            results.add,
        )
        if used < size:
            self._batch_size = min(used, self._batch_size)
        return results.columns()

    def _checked(self, x: Array) -> Tensor:
        checked = check_inputs(
            x, input_shape=self.input_shape, clip_values=self.clip_values, read_only=True,
            feature_names=self.feature_names,
        )  # fmt: skip
        return checked.detach()
