"""`Adapter`: the common interface of estimators that end in a linear layer.

The rest of art_flat accesses a classifier only through `Adapter`. A new kind of estimator needs a subclass with
`head`, `forward`, `as_module` and `identity`, and `adapt.register(MyEstimator)`.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import nn

from .. import functional
from ..errors import StoreError, UnsupportedEstimatorError
from ._ball_bounds import BallBounds
from ._sharpness import SharpnessPerSample
from .outputs import Head as Head
from .outputs import InputBallBounds as InputBallBounds
from .outputs import Outputs as Outputs
from .outputs import Passes as Passes

if TYPE_CHECKING:
    from pathlib import Path

    from ..functional import LipschitzBound, LipschitzKind
    from ..typing import Norm


class Adapter(SharpnessPerSample, BallBounds):
    """Access to an estimator's logits, features and head, and to quantities derived from them.

    All quantities are computed from the inputs that `estimator.predict` uses (preprocessing and preprocessing
    defences included), in eval mode, with one forward pass per batch. Inputs are NumPy arrays or tensors of
    shape (n, *input_shape) in units of `clip_values`; results are of the same kind of array.

    Attributes:
        estimator: The adapted estimator; never copied, never pickled.
        nb_classes: The number of classes k; 2 for a logistic model with one output.
        input_shape: Shape of one sample.
        clip_values: Smallest and largest input, numbers or arrays; None if the estimator has none.
        device: The model's device.
        dtype: The model's floating-point dtype.
        made_by: The recipe that built it, or None.
        feature_names: Names of the input columns, if the model was fitted on a data frame.
    """

    made_by: Recipe | None = None

    def lipschitz(
        self, norm: Norm = "L2", *, kind: LipschitzKind = "spectral", **options: Any
    ) -> LipschitzBound:
        """L with ‖φ(x) − φ(x′)‖₂ ≤ L ‖x − x′‖, x in units of `clip_values`; see `functional.lipschitz_constant`.

        Args:
            norm: Norm of the inputs, `"L2"`, `"Linf"` or `"L1"`.
            kind: `"spectral"` (sound), `"given"` with `value=`, or `"empirical"` (an estimate) with `points=`.
            **options: `value` or `points`, as required by `kind`.

        Returns:
            The constant, including the preprocessing.

        Raises:
            UnsupportedEstimatorError: If this adapter supports only `kind="given"`.
        """
        if kind != "given":
            raise UnsupportedEstimatorError(f'{type(self).__name__} has no {kind} constant; use kind="given"')
        return functional.lipschitz_constant(nn.Identity(), self.input_shape, norm=norm, kind=kind, **options)

    def lipschitz_cost(self) -> functional.LipschitzCost:
        """The cost of deriving the spectral constant, and of a forward pass; zero if unknown.

        Returns:
            Operations, from the shapes of the layers alone.
        """
        return functional.LipschitzCost(0.0, 0.0)

    def recipe(self, folder: Path) -> Recipe:
        """A small recipe from which another process rebuilds this adapter; estimators are never pickled.

        Args:
            folder: Destination of the weights, unless they are in a file already.

        Returns:
            A small picklable object with the method `build`.

        Raises:
            UnsupportedEstimatorError: If it cannot be rebuilt in another process.
        """
        if self.made_by is None:
            raise UnsupportedEstimatorError(
                f"workers cannot make a {type(self).__name__} again; use n_jobs=1, or run from a configuration file "
                "whose `factory` makes the classifier"
            )
        return self.made_by

    def guard(self) -> contextlib.AbstractContextManager[list[str]]:
        """Restore the estimator when the block ends, also after an exception.

        Training flag of every submodule, weights, gradients, `requires_grad`, hooks, buffers, attributes of the
        estimator and the loss's reduction. Parameters' gradients are None inside the block.

        Returns:
            A context manager. It yields a list that, once the block has ended, names the changes: `"mode"`,
            `"weights"`, `"hooks"`, `"buffers"`.
        """
        return contextlib.nullcontext([])

    @property
    def ignored_loss_options(self) -> tuple[str, ...]:
        """Options by which the classifier's loss differs from −log p_y, and which are ignored, as texts."""
        return ()

    @contextlib.contextmanager
    def counting(self) -> Iterator[Passes]:
        """Count the samples that go through the head while the block runs, from any caller.

        Yields:
            The counts so far; NaN if they are unknown.
        """
        yield Passes(math.nan, math.nan)

    def __repr__(self) -> str:
        head, model = self.head, type(getattr(self.estimator, "model", self.estimator)).__name__
        return (
            f"{type(self).__name__}({model}, head={head.name!r} {head.nb_classes}×{head.nb_features}, "
            f"input_shape={self.input_shape}, clip_values={self.clip_values}, device={str(self.device)!r})"
        )

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} can be neither copied nor pickled, because ART's estimators write files "
            "when they are; adapt the classifier again where it is needed"
        )


class Recipe(ABC):
    """Builds an adapter, and verifies that weights, preprocessing and range are unchanged."""

    sha256: str

    def build(self, device: str | None = None) -> Adapter:
        """Build the adapter.

        Args:
            device: `"cpu"` or `"cuda:1"`; the default device if None.

        Returns:
            The adapter.

        Raises:
            StoreError: If the model differs from the original.
        """
        target = torch.device(device) if device is not None else None
        on_cuda = target is not None and target.type == "cuda"
        # ART moves models to the current CUDA device and ignores the index
        with torch.cuda.device(target) if on_cuda else contextlib.nullcontext():
            net = self._build(device)
        if net.identity()["sha256"] != self.sha256:
            raise StoreError(
                "the model made in a worker has other weights or preprocessing than the one it was made from; does "
                "its factory draw random weights, or has its file changed?"
            )
        net.made_by = self
        return net

    @abstractmethod
    def _build(self, device: str | None) -> Adapter: ...
