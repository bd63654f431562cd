"""`Adapter`: the common interface of estimators that end in a linear layer.

The rest of art_flat sees a classifier only through `Adapter`. A new kind of estimator needs a subclass with
`head`, `forward`, `as_module` and `identity`, and `adapt.register(MyEstimator)`.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from .. import certification, functional
from .._utils.arrays import like, n_samples
from .._utils.validation import check_definition, check_inputs, check_labels
from ..errors import StoreError, UnsupportedEstimatorError
from ..functional._logits import frobenius_norm, squared_row_distances
from ..typing import DEFINITIONS
from ._ball_bounds import BoundableNet, InputBallBounds, same_logits, trace_net
from ._batches import Results, check_batch_size, default_batch_size, map_batches
from .outputs import Head as Head
from .outputs import Outputs as Outputs
from .outputs import Passes as Passes
from .outputs import clip_pair

if TYPE_CHECKING:
    from pathlib import Path

    from ..certification import CertificateKind, Graph
    from ..functional import LipschitzBound, LipschitzKind
    from ..typing import Array, Definition, Norm

    pass


class Adapter(ABC):
    """An estimator's logits, features and head, and the quantities that follow from them.

    Everything is computed from exactly what `estimator.predict` sees (preprocessing and preprocessing
    defences included), in eval mode, with one forward pass per batch. Inputs are NumPy arrays or tensors of
    shape (n, *input_shape) in units of `clip_values`; results come in the kind of array that came in.

    Attributes:
        estimator: What was adapted; never copied, never pickled.
        nb_classes: The number of classes k; 2 for a logistic model with one output.
        input_shape: Shape of one sample.
        clip_values: Smallest and largest input, numbers or arrays; None if the estimator has none.
        device: Where the model computes.
        dtype: The floating type in which the model computes.
        made_by: The recipe it was made by, if there was one.
        feature_names: Names of the input columns, if the model was fitted on a data frame.
    """

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
        self.clip_values = clip_pair(clip_values)
        self.device = device
        self.dtype = dtype
        self.made_by: Recipe | None = None
        self._batch_size = default_batch_size(self.input_shape)
        self._traced: tuple[tuple[str, ...], Graph] | None = None  # the state it was traced in, and the graph

    # What a subclass writes

    @property
    @abstractmethod
    def head(self) -> Head:
        """The linear head as it is now; follows the weights if the model is trained further."""

    @abstractmethod
    def forward(self, x: Tensor) -> Outputs:
        """Logits and features of one batch that has been checked and lies on `device`."""

    @abstractmethod
    def as_module(self, *, unit_range: bool = False, estimate_gradients: bool = False) -> nn.Module:
        """The same function, x ↦ logits, as a module through which gradients with respect to x flow.

        The module takes x in units of `clip_values`, shape (n, *input_shape), of any floating type, and
        applies the estimator's preprocessing. It always computes in eval mode,
        leaves no gradient in the model's parameters, and shares them.

        Args:
            unit_range: Take x in [0, 1] and rescale it to `clip_values` first.
            estimate_gradients: Where a preprocessing defence has no gradient, use the estimate that the
                defence itself provides instead of refusing.

        Returns:
            A module that gives logits of shape (n, k).

        Raises:
            UnsupportedEstimatorError: If a defence has no gradient and `estimate_gradients` is False.
            InputError: If `unit_range` is asked for and the estimator has no `clip_values`.
        """

    def lipschitz(
        self, norm: Norm = "L2", *, kind: LipschitzKind = "spectral", **known: Any
    ) -> LipschitzBound:
        """L with ‖φ(x) − φ(x′)‖₂ ≤ L ‖x − x′‖, x in units of `clip_values`; see `functional.lipschitz_constant`.

        Args:
            norm: Norm of the inputs, `"L2"`, `"Linf"` or `"L1"`.
            kind: `"spectral"` (sound), `"given"` with `value=`, or `"empirical"` (an estimate) with `points=`.
            **known: `value` or `points`, as `kind` asks.

        Returns:
            The constant, with the preprocessing in it.

        Raises:
            UnsupportedEstimatorError: If this adapter can only be given a constant.
        """
        if kind != "given":
            raise UnsupportedEstimatorError(f'{type(self).__name__} has no {kind} constant; use kind="given"')
        return functional.lipschitz_constant(nn.Identity(), self.input_shape, norm=norm, kind=kind, **known)

    def lipschitz_cost(self) -> functional.LipschitzCost:
        """What deriving the spectral constant costs, and a forward pass; zero where neither is known.

        Returns:
            Operations, from the shapes of the layers alone.
        """
        return functional.LipschitzCost(0.0, 0.0)

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """Which model this is.

        Returns:
            `estimator` and `model` (class names), `sha256` over the weights, the preprocessing and the clip range,
            and perhaps `code` over the model's code: equal for equal classifiers, in any process.
        """

    def recipe(self, folder: Path) -> Recipe:
        """How another process makes this adapter again, in few bytes; estimators themselves are never pickled.

        Args:
            folder: Where weights are written, if they are not in a file already.

        Returns:
            Something small to pickle, with `build()`.

        Raises:
            UnsupportedEstimatorError: If it cannot be made again elsewhere.
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
            A context manager. It gives a list that, once the block has ended, names what had been changed: `"mode"`,
            `"weights"`, `"hooks"`, `"buffers"`.
        """
        return contextlib.nullcontext([])

    @property
    def ignored_loss_options(self) -> tuple[str, ...]:
        """Settings of the classifier's loss by which it is not −log p_y, and which are not used, as texts."""
        return ()

    @contextlib.contextmanager
    def counting(self) -> Iterator[Passes]:
        """Count the samples that go through the head while the block runs, from any caller.

        Yields:
            The counts so far; nan where they cannot be known.
        """
        yield Passes(math.nan, math.nan)

    # What every adapter has

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
        """`outputs` of samples that have been checked, or that art_flat has made.

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
        names = ["logits", "features"]
        labels = None if y is None else check_labels(y, n_samples(x), self.nb_classes).to(self.device)
        kinds = [check_definition(definition) for definition in definitions]
        weights = _Weights(self, kinds)
        names += [] if labels is None else ["loss"]
        names += [f"{kappa}_{kind}" for kind in kinds for kappa in ("kappa", "log_kappa")]

        def columns(out: Outputs, rows: slice) -> list[Tensor]:
            loss = [] if labels is None else [functional.cross_entropy(out.logits, labels[rows])]
            known = weights.now()
            kappas = [
                score(*out, definition=kind, **known)
                for kind in kinds
                for score in (functional.relative_sharpness, functional.log_relative_sharpness)
            ]
            return [*out, *loss, *kappas]

        return dict(zip(names, self._columns(x, columns, batch_size), strict=True))

    def bounds_in_ball(
        self,
        x: Array,
        y: Array,
        *,
        delta: float,
        norm: Norm = "Linf",
        kind: CertificateKind = "crown",
        seconds: float | None = None,
        batch_size: int | None = None,
    ) -> InputBallBounds:
        """What is certain of the loss and of the label over the ball ‖ξ − x‖ ≤ δ within the clip range.

        The bounds hold for the model in real arithmetic and in eval mode, head and mean/std preprocessing
        included; what rounding does to the bounds themselves is added to them.

        Args:
            x: Samples, shape (n, *input_shape).
            y: Labels, class indices (n,) or one-hot rows (n, k).
            delta: Radius δ > 0, units of `clip_values`.
            norm: `"Linf"`, `"L2"` or `"L1"`.
            kind: `"interval"`, `"crown_interval"`, `"crown"` or `"branch"`, each the minimum of itself and the
                cheaper ones before it; see `art_flat.certification.bounds_in_ball`.
            seconds: For `"branch"`, and needed there: time for each sample.
            batch_size: Samples at a time; None for as many as memory allows.

        Returns:
            Bounds per sample on the loss increase (nats) and on the worst margin (logits), and where the label is
            kept; float64, in the kind of array that `x` is.

        Raises:
            InputError: If an argument cannot be used, or the norm is L0.
            UnknownNameError: If there is no such kind or norm.
            UnsupportedEstimatorError: If a preprocessing defence cannot be bounded.
            UnsupportedLayerError: If a layer cannot be bounded; the error names it.
        """
        inputs = self._checked(x)
        labels, graph = check_labels(y, len(inputs), self.nb_classes), self._graph(inputs[:2])
        found = certification.bounds_in_ball(
            graph, inputs.to(graph.device), labels.to(graph.device), delta=delta, norm=norm, kind=kind,
            clip_values=self.clip_values, seconds=seconds, batch_size=batch_size,
        )  # fmt: skip
        return InputBallBounds(like(found.loss_increase, x), like(found.worst_margin, x))

    def loss_increase_in_ball(
        self,
        x: Array,
        y: Array,
        *,
        delta: float,
        norm: Norm = "Linf",
        kind: CertificateKind = "crown",
        seconds: float | None = None,
        batch_size: int | None = None,
    ) -> Array:
        """Upper bounds on the largest increase of the loss, max ℓ(ξ, y) − ℓ(x, y) over ‖ξ − x‖ ≤ δ.

        Args:
            x: Samples, shape (n, *input_shape).
            y: Labels, class indices (n,) or one-hot rows (n, k).
            delta: Radius δ > 0, units of `clip_values`.
            norm: `"Linf"`, `"L2"` or `"L1"`.
            kind: How to find the bounds; see `bounds_in_ball`.
            seconds: For `"branch"`: time for each sample.
            batch_size: Samples at a time.

        Returns:
            Bounds ≥ 0, nats, float64, shape (n,); NaN or +inf where there is none.

        Raises:
            InputError: As for `bounds_in_ball`, like the other errors.
        """
        return self.bounds_in_ball(
            x, y, delta=delta, norm=norm, kind=kind, seconds=seconds, batch_size=batch_size
        ).loss_increase

    # How that is done

    def _graph(self, samples: Tensor) -> Graph:
        """The graph of the model as it is now, traced again only if the model has changed.

        Args:
            samples: A few inputs on which the graph must give the model's logits.

        Returns:
            The graph, float64, on the model's device.

        Raises:
            UnsupportedEstimatorError: If there are no bounds for the estimator.
        """
        state, logits = tuple(self.identity().values()), self.outputs(samples).logits
        known = self._traced
        if known is None or known[0] != state or not same_logits(known[1], samples, logits):
            known = (state, self._trace())
            if not same_logits(known[1], samples, logits):
                raise UnsupportedEstimatorError(
                    f"no bounds over a ball for {self!r}: its layers give other logits than the estimator; a hook, "
                    "or arithmetic in a type with few digits, changes them. Certify with a Lipschitz constant that "
                    "you know"
                )
            self._traced = known
        return known[1]

    def _trace(self) -> Graph:
        """The graph of the model as it is now; from the module unless a subclass knows better."""
        return trace_net(BoundableNet(self.as_module()), self.input_shape)

    @property
    def _last_head(self) -> Head:
        """The head as the last batch was passed forward; the head itself where nothing can have changed."""
        return self.head

    def _sharpness(
        self, score: Callable[..., Tensor], x: Array, definition: Definition, batch_size: int | None
    ) -> Array:
        definition = check_definition(definition)
        weights = _Weights(self, [definition])
        return self._per_sample(
            x, lambda out, rows: score(*out, definition=definition, **weights.now()), batch_size
        )

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
        # A model may write into what it is given, so it is given a copy.
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


class _Weights:
    """The head's weight after each batch, with what every batch would compute anew from it."""

    def __init__(self, net: Adapter, kinds: Sequence[Definition]) -> None:
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


class Recipe(ABC):
    """Makes an adapter; equal weights, preprocessing and range are checked."""

    sha256: str

    def build(self, device: str | None = None) -> Adapter:
        """The adapter, made anew.

        Args:
            device: `"cpu"` or `"cuda:1"`; None for where it comes to lie by itself.

        Returns:
            The adapter.

        Raises:
            StoreError: If it is not the same model as before.
        """
        place = torch.device(device) if device is not None else None
        on_cuda = place is not None and place.type == "cuda"
        # ART puts models on the current CUDA device, regardless of the index it is given
        with torch.cuda.device(place) if on_cuda else contextlib.nullcontext():
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
