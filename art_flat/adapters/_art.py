"""Base class of the adapters of ART's estimators."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._utils.arrays import to_tensor
from .._utils.modes import outside_inference_mode
from .._utils.validation import check_inputs
from ..errors import InputError, UnsupportedEstimatorError
from ..functional import LipschitzBound, LipschitzCost, LipschitzKind, lipschitz_constant, lipschitz_cost
from ..typing import Norm
from ._graph import BoundableNet
from ._preprocessing import Preprocessing
from ._state import preserved, preserved_attributes
from .base import Adapter, Recipe
from .recipe import PartsRecipe


class ArtAdapter(Adapter):
    """An adapter of an ART estimator: its preprocessing, its state and its identity.

    Raises:
        UnsupportedEstimatorError: If the estimator changes its predictions after the logits.
    """

    def __init__(self, estimator: Any, *, nb_classes: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(
            estimator,
            nb_classes=nb_classes,
            input_shape=estimator.input_shape,
            clip_values=estimator.clip_values,
            device=device,
            dtype=dtype,
        )
        changing = [type(d).__name__ for d in estimator.postprocessing_defences or [] if d.apply_predict]
        if changing:
            raise UnsupportedEstimatorError(
                f"the classifier has postprocessing defences ({', '.join(changing)}): they change what "
                "predict returns but neither the logits nor any gradient, so that flatness and predictions "
                "would be those of two functions; adapt a classifier without postprocessing_defences"
            )
        self.preprocessing = Preprocessing(estimator.preprocessing_operations)

    @abstractmethod
    def _module(self, span: tuple[Tensor, Tensor] | None) -> nn.Module:
        """Inputs, stretched from [0, 1] to `span` unless that is None, to logits."""

    @abstractmethod
    def _weights(self) -> Mapping[str, Any]:
        """Every array of the model, by name."""

    @abstractmethod
    def _changeable(self) -> nn.Module | None:
        """The torch module that attacks may change, if there is one."""

    @outside_inference_mode
    def as_module(self, *, unit_range: bool = False, estimate_gradients: bool = False) -> nn.Module:
        """The same function, x ↦ logits, as a module through which gradients flow; see `Adapter.as_module`.

        Args:
            unit_range: Take x in [0, 1] and rescale it to `clip_values` first.
            estimate_gradients: Where a preprocessing defence has no gradient, use its own estimate.

        Returns:
            A module that returns logits of shape (n, k).

        Raises:
            UnsupportedEstimatorError: If a defence has no gradient and `estimate_gradients` is False.
            InputError: If `unit_range` is True and the estimator has no `clip_values`.
        """
        estimated = self.preprocessing.without_gradient()
        if estimated and not estimate_gradients:
            raise UnsupportedEstimatorError(
                f"the preprocessing defence {estimated[0]} has no gradient; use a PyTorch version of it, or "
                "estimate_gradients=True (of evaluate, of as_module, or of an attack's call, whose points metrics take "
                "as x_adv=) for the estimate that ART provides (often the identity)"
            )
        if not unit_range:
            return self._module(None)
        if self.clip_values is None:
            raise InputError(
                "unit_range=True needs the range of the inputs; give the classifier clip_values=(low, high)"
            )
        low, high = (to_tensor(v, dtype=torch.float64) for v in self.clip_values)
        return self._module((low, high))

    def recipe(self, folder: Path) -> Recipe:
        """A recipe from which another process rebuilds this adapter; see `Adapter.recipe`.

        Args:
            folder: Destination of the weights, unless they are in a file already.

        Returns:
            The recipe.

        Raises:
            UnsupportedEstimatorError: If it cannot be rebuilt in another process.
        """
        kind, arguments = type(self.estimator), self._arguments()
        if self.made_by is not None or arguments is None:
            return super().recipe(folder)
        arguments |= {
            "clip_values": self.estimator.clip_values,
            "preprocessing_defences": self.estimator.preprocessing_defences,
            "preprocessing": self.estimator.preprocessing,
        }
        return PartsRecipe.from_estimator(
            kind, arguments, self._named_head(), self.identity()["sha256"], folder
        )

    def _arguments(self) -> dict[str, Any] | None:
        """The arguments that rebuild such an estimator, without the common ones; None if unknown."""
        return None

    def _named_head(self) -> str | None:
        return None

    def _extractor(self) -> tuple[nn.Module, str | None]:
        """A module without preprocessing, and the name of the submodule whose input is φ (None: its output is φ)."""
        raise UnsupportedEstimatorError(
            f'{type(self).__name__} has no module to bound; give the constant: kind="given", value=...'
        )

    @outside_inference_mode
    def lipschitz(
        self, norm: Norm = "L2", *, kind: LipschitzKind = "spectral", **options: Any
    ) -> LipschitzBound:
        """L with ‖φ(x) − φ(x′)‖₂ ≤ L ‖x − x′‖, x in units of `clip_values`; see `Adapter.lipschitz`.

        Args:
            norm: Norm of the inputs, `"L2"`, `"Linf"` or `"L1"`.
            kind: `"spectral"` (sound), `"given"` with `value=`, or `"empirical"` (an estimate) with `points=`.
            **options: `value` or `points`, as required by `kind`.

        Returns:
            The constant, including the preprocessing.

        Raises:
            UnsupportedEstimatorError: If a preprocessing defence is not known to be Lipschitz.
        """
        if kind == "given":
            return super().lipschitz(norm, kind=kind, **options)
        factor = self.preprocessing.lipschitz()
        module, head = self._extractor()
        if "points" in options:
            points = check_inputs(options["points"], input_shape=self.input_shape, name="points")
            options["points"] = self.preprocessing(points.to(self.device, self.dtype)).to(self.dtype)
        with self.guard():
            module.eval()
            bound = lipschitz_constant(module, self.input_shape, head=head, norm=norm, kind=kind, **options)
        value = float(np.nextafter(bound.value * factor, np.inf)) if factor != 1 else bound.value
        return replace(bound, value=value)

    @outside_inference_mode
    def lipschitz_cost(self) -> LipschitzCost:
        """The cost of deriving the spectral constant; see `Adapter.lipschitz_cost`.

        Returns:
            Operations; zero if the net has no module, or an unsupported one.
        """
        try:
            module, _ = self._extractor()
            with self.guard():
                module.eval()
                sample = torch.zeros(1, *self.input_shape, device=self.device, dtype=self.dtype)
                return lipschitz_cost(module, sample)
        except (UnsupportedEstimatorError, RuntimeError):  # the derivation itself reports the reason
            return super().lipschitz_cost()

    def _boundable(self, module: nn.Module) -> BoundableNet:
        return BoundableNet(module, *(self.preprocessing.mean_and_std(self.input_shape) or (None, None)))

    @contextlib.contextmanager
    def guard(self) -> Iterator[list[str]]:
        """Restore the estimator when the block ends, also after an exception; see `Adapter.guard`.

        Yields:
            A list that names the changes, once the block has ended.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(preserved_attributes(self.estimator, "_features"))
            loss = getattr(self.estimator, "_loss", None)
            if loss is not None and hasattr(loss, "reduction"):
                stack.callback(setattr, loss, "reduction", loss.reduction)
            model = self._changeable()
            yield [] if model is None else stack.enter_context(preserved(model))

    def identity(self) -> dict[str, str]:
        """The identity of the model; see `Adapter.identity`.

        Returns:
            `estimator` and `model` (class names), `sha256` over weights, preprocessing and clip range, `code` over
            the text of the model's own classes, and `layers` over its library layers and their constants.
        """
        digest = hashlib.sha256()
        for name, value in self._weights().items():
            _update(digest, name, value)
        for name, value in self.preprocessing.parameters():
            _update(digest, name, value)
        for name, value in zip(("low", "high"), self.clip_values or (), strict=False):
            _update(digest, name, np.asarray(value, dtype=np.float64))
        return {
            "estimator": class_name(self.estimator),
            "model": class_name(self.estimator.model),
            "sha256": digest.hexdigest(),
            "code": code_hash(self._changeable()),
            "layers": layers_hash(self._changeable()),
        }


def class_name(thing: object) -> str:
    """Module and name of an object's class.

    Args:
        thing: Any object.

    Returns:
        The dotted name.
    """
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def code_hash(module: nn.Module | None) -> str:
    """Sixteen hexadecimal digits of the source code of the classes of all submodules, where it is available.

    Args:
        module: Any module, or None.

    Returns:
        The digits; they do not depend on the libraries' own classes.
    """
    classes: set[Any] = {type(part) for part in module.modules()} if module is not None else set()
    texts = sorted({_source(c) for c in classes if not _is_library(c)})
    return hashlib.sha256("\x1e".join(texts).encode()).hexdigest()[:16]


def layers_hash(module: nn.Module | None) -> str:
    """Sixteen hexadecimal digits of the library layers of a module and their declared constants.

    Args:
        module: Any module, or None.

    Returns:
        The digits; a slope, an ε, a stride or an activation changes them.
    """
    parts = [] if module is None else module.named_modules()
    lines = [
        f"{name}\x1f{class_name(part)}{_constants(part)}" for name, part in parts if _is_library(type(part))
    ]
    return hashlib.sha256("\x1e".join(lines).encode()).hexdigest()[:16]


def _is_library(cls: type) -> bool:
    return cls.__module__.split(".")[0] in {"torch", "torchvision", "art"}


def _constants(part: nn.Module) -> str:
    values = {name: getattr(part, name, None) for name in sorted(getattr(part, "__constants__", ()))}
    plain = {n: v for n, v in values.items() if isinstance(v, (str, int, float, tuple)) or v is None}
    return repr(plain)


@functools.cache
def _source(cls: Any) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # defined interactively, or compiled
        return f"{cls.__module__}.{cls.__qualname__}"


def _update(digest: Any, name: str, value: Any) -> None:
    # Bytes of arrays and tensors, the text of plain values, the class of other objects
    digest.update(f"\x1e{name}\x1f".encode())
    if isinstance(value, np.ndarray):
        value = to_tensor(value) if value.dtype.kind in "biuf" else value.tolist()
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, (str, int, float, bool, list, tuple, np.generic)) or value is None:
        digest.update(repr(value).encode())
    else:
        digest.update(class_name(value).encode())
