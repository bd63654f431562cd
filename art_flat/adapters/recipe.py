"""Picklable recipes from which another process rebuilds an adapter, without pickling the ART estimator.

ART's estimators write files into the home folder when they are pickled, and take `cuda:0` when they are unpickled.
So a worker gets the import string of a factory and a path to weights, or the estimator's arguments with the weights
in a safetensors file.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import safetensors.torch
import torch
from art.estimators import BaseEstimator
from torch import nn
from torch.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    type_before_parametrizations,
)

from ..errors import UnsupportedEstimatorError
from ..models import build
from ._adapt import adapt
from .base import Adapter, Recipe


@dataclass(frozen=True)
class FactoryRecipe(Recipe):
    """An import string and a file of weights; see `art_flat.models.build`.

    Attributes:
        arguments: Arguments of `build`.
        sha256: SHA-256 of the adapter's identity.
    """

    arguments: Mapping[str, Any]
    sha256: str

    def _build(self, device: str | None) -> Adapter:
        return adapt(build(**self.arguments, device=device))


@dataclass(frozen=True)
class PartsRecipe(Recipe):
    """A class of estimators and its arguments, with the tensors of the model in a file.

    Attributes:
        arguments: (class, keyword arguments), pickled without the model's tensors.
        weights: The safetensors file with the tensors.
        head: Name of the head, for adapters that accept it.
        sha256: SHA-256 of the adapter's identity.
    """

    arguments: bytes
    weights: Path
    head: str | None
    sha256: str

    @classmethod
    def from_estimator(
        cls, kind: type, arguments: Mapping[str, Any], head: str | None, sha256: str, folder: Path
    ) -> PartsRecipe:
        """The recipe of an estimator that `kind(**arguments)` rebuilds.

        Args:
            kind: The estimator's class.
            arguments: Its arguments.
            head: Name of the head.
            sha256: SHA-256 of the adapter's identity.
            folder: Destination of the weights.

        Returns:
            The recipe.

        Raises:
            UnsupportedEstimatorError: If the arguments cannot be pickled.
        """
        model = arguments.get("model")
        tensors = model.state_dict(keep_vars=True) if isinstance(model, nn.Module) else {}
        try:
            structure = dumps((kind, dict(arguments)), {id(t): name for name, t in tensors.items()})
        except Exception as error:
            raise UnsupportedEstimatorError(
                f"{type(model).__name__} cannot be sent to workers: {type(error).__name__}: {error}. Use n_jobs=1, or "
                "run from a configuration file whose `factory` makes the classifier"
            ) from error
        path = folder / f"{sha256}.safetensors"
        safetensors.torch.save_file(
            {n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}, path
        )
        return cls(structure, path, head, sha256)

    def _build(self, device: str | None) -> Adapter:
        tensors = safetensors.torch.load_file(self.weights)
        kind, arguments = loads(self.arguments, tensors)
        if device is not None and "device_type" in arguments:
            arguments["device_type"] = "gpu" if device.startswith("cuda") else "cpu"
        return adapt(kind(**arguments), self.head)


def dumps(thing: Any, tensors: Mapping[int, str] | None = None) -> bytes:
    """Pickle an object, including functions and classes without a module, but never an ART estimator.

    Args:
        thing: The object.
        tensors: Names of tensors to leave out, by `id`.

    Returns:
        The pickle.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, tensors or {}).dump(thing)
    return buffer.getvalue()


def loads(content: bytes, tensors: Mapping[str, torch.Tensor] | None = None) -> Any:
    """Unpickle the result of `dumps`; only for content pickled by this run.

    Args:
        content: The pickle.
        tensors: The tensors that were left out, by name.

    Returns:
        The object.
    """
    return _Unpickler(io.BytesIO(content), tensors or {}).load()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, tensors: Mapping[int, str]) -> None:
        super().__init__(file)
        self._tensors = tensors

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, torch.Tensor) or id(obj) not in self._tensors:
            return None
        strides = torch.empty_like(
            obj, device="meta"
        ).stride()  # the strides without gaps: kernels depend on them
        return self._tensors[id(obj)], isinstance(obj, nn.Parameter), obj.requires_grad, strides

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, BaseEstimator):
            raise TypeError(
                f"it holds an ART estimator ({type(obj).__name__}), which writes files when it is pickled"
            )
        if isinstance(obj, nn.Module) and is_parametrized(obj):
            return _parametrized, (type_before_parametrizations(obj), *_parts(obj))
        return super().reducer_override(obj)


def _parts(module: nn.Module) -> tuple[dict[str, Any], dict[str, nn.Module]]:
    """Attributes of a parametrised module without its parametrisations, and these by tensor name."""
    state = dict(vars(module))
    modules = dict(state["_modules"])
    lists = dict(modules.pop("parametrizations").items())
    return {**state, "_modules": modules}, lists


def _parametrized(cls: type[nn.Module], state: dict[str, Any], lists: dict[str, nn.Module]) -> nn.Module:
    """Rebuild a module with parametrised tensors; torch's class of such modules cannot be pickled."""
    module = cls.__new__(cls)
    vars(module).update(state)
    for name, stored in lists.items():
        module.register_parameter(name, nn.Parameter(torch.empty(0)))
        register_parametrization(module, name, nn.Identity())
        module.parametrizations[name] = stored  # type: ignore[index, operator, assignment]
    return module


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(file)
        self._tensors = tensors
        self._made: dict[str, torch.Tensor] = {}

    def persistent_load(self, pid: Any) -> Any:
        name, is_parameter, learns, strides = pid
        if name not in self._made:
            stored = self._tensors[name]
            tensor = torch.empty_strided(stored.shape, strides, dtype=stored.dtype).copy_(stored)
            self._made[name] = nn.Parameter(tensor, requires_grad=learns) if is_parameter else tensor
        return self._made[name]
