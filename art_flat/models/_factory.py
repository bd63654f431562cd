"""ART classifiers from networks, or from the import string of a function that builds one."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .._utils.formatting import counted
from .._utils.imports import import_object, import_path
from .._utils.modes import eval_mode
from .._utils.random import seeded_rng
from ..errors import ConfigError, InputError, UnknownNameError
from ._standardisation import mean_and_std
from ._weights import load_weights


def as_classifier(
    model: nn.Module,
    *,
    input_shape: tuple[int, ...],
    nb_classes: int,
    clip_values: tuple[float, float] = (0.0, 1.0),
    mean: Any = None,
    std: Any = None,
    preprocessing: Any = None,
    device: torch.device | str | None = None,
) -> Any:
    """An `art.estimators.classification.PyTorchClassifier` with cross-entropy around a network of logits.

    Args:
        model: Network from (n, *input_shape) to logits (n, k); moved in place if it is on another device.
        input_shape: Shape of one sample.
        nb_classes: Number k of classes.
        clip_values: Smallest and largest value of an input.
        mean: Mean of the normalisation (x − mean)/std before the network: a number or one per channel, in units of the
            inputs; None for no normalisation. It becomes part of the classifier, as ART's preprocessing.
        std: Standard deviation of the normalisation, > 0; required with `mean`.
        preprocessing: In place of `mean` and `std`: an ART preprocessor, or the pair (mean, std) as ART takes it.
        device: "cpu" or a CUDA device; the model's device if None.

    Returns:
        The classifier.

    Raises:
        InputError: If the model does not map such inputs to `nb_classes` logits, the device is not available, or the
            normalisation is invalid or given twice.

    >>> from art_flat.models import fcn
    >>> as_classifier(fcn(), input_shape=(1, 28, 28), nb_classes=10, mean=0.1307, std=0.3081).nb_classes
    10
    """
    from art.estimators.classification import PyTorchClassifier

    input_shape = tuple(input_shape)
    normalisation = mean_and_std(mean, std, input_shape)
    if normalisation is not None and preprocessing is not None:
        raise InputError("the normalisation is given twice; pass `mean` and `std`, or `preprocessing`")
    target = _device(model, device)
    model.to(target)
    _check_logits(model, input_shape, nb_classes, clip_values[0])
    if isinstance(preprocessing, (tuple, list)):
        means, stds = (np.asarray(part, dtype=np.float32) for part in preprocessing)
        normalisation = (means, stds)
    # ART moves the model to the current CUDA device and ignores the index
    with torch.cuda.device(target) if target.type == "cuda" else contextlib.nullcontext():
        return PyTorchClassifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            input_shape=input_shape,
            nb_classes=nb_classes,
            clip_values=clip_values,
            preprocessing=preprocessing if normalisation is None else normalisation,
            device_type="gpu" if target.type == "cuda" else "cpu",
        )


def build(
    factory: str,
    *,
    weights: str | Path | None = None,
    input_shape: tuple[int, ...],
    nb_classes: int,
    clip_values: tuple[float, float] = (0.0, 1.0),
    mean: Any = None,
    std: Any = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    search_path: str | Path | None = None,
    trust: bool = False,
) -> Any:
    """The ART classifier of an import string such as "art_flat.models:mnist_cnn".

    The function is called with those of `input_shape`, `in_features` (its product), `nb_classes`,
    `num_classes`, `clip_values` and `seed` that its signature names, and with `options`. It returns an ART
    classifier, or a network of logits, which is then wrapped by `as_classifier`.

    Args:
        factory: "package.module:function".
        weights: File of weights for the network, read by `load_weights`; initial weights if None.
        input_shape: Shape of one sample.
        nb_classes: Number k of classes.
        clip_values: Smallest and largest value of an input.
        mean: Mean of the normalisation before a network; see `as_classifier`.
        std: Standard deviation of the normalisation.
        options: Further keyword arguments for the function; they take precedence.
        seed: Seed while the function runs; the caller's random state is unchanged.
        device: Device of a network; None for the GPU if there is one, else the CPU.
        search_path: First folder of the import path while the function is imported and runs.
        trust: Read weights from pickles that can run any code; see `load_weights`.

    Returns:
        The classifier; an ART classifier is returned unchanged.

    Raises:
        ConfigError: If the module cannot be imported, or the function fails or returns neither of the two.
        UnknownNameError: If the function or an option of it does not exist.
        InputError: If the weights or the network do not fit.

    >>> build("art_flat.models:digits_cnn", input_shape=(1, 8, 8), nb_classes=10).input_shape
    (1, 8, 8)
    """
    input_shape = tuple(input_shape)
    offered = {
        "input_shape": input_shape,
        "in_features": math.prod(input_shape),
        "nb_classes": nb_classes,
        "num_classes": nb_classes,
        "clip_values": clip_values,
        "seed": seed,
    }
    with import_path(search_path), seeded_rng(seed, "cuda" if torch.cuda.is_available() else "cpu"):
        made = _make(factory, offered, dict(options or {}))
    if weights is not None:
        load_weights(_network(made, factory, weights), weights, trust=trust)
    if isinstance(made, nn.Module):
        return as_classifier(
            made, input_shape=input_shape, nb_classes=nb_classes, clip_values=clip_values, mean=mean, std=std,
            device="cuda" if device is None and torch.cuda.is_available() else device,
        )  # fmt: skip
    if mean is not None or std is not None:
        raise ConfigError(
            f"factory {factory!r} returned {_kind(made)}, which has its own preprocessing; drop `mean` and `std`, "
            "or let the factory return the network"
        )
    return made


def _make(factory: str, offered: dict[str, Any], options: dict[str, Any]) -> Any:
    """The network or ART classifier that an import string names, or that the function it names returns."""
    from art.estimators import BaseEstimator

    made = _import(factory)
    if not isinstance(made, (nn.Module, BaseEstimator)):
        made = _call(made, factory, offered, options)
    if not isinstance(made, (nn.Module, BaseEstimator)):
        raise ConfigError(
            f"factory {factory!r} returned {_kind(made)}; it must return an ART classifier or an nn.Module "
            "from inputs to logits"
        )
    return made


def _network(made: Any, factory: str, weights: str | Path) -> nn.Module:
    """The torch network that weights are loaded into."""
    network = made if isinstance(made, nn.Module) else getattr(made, "model", None)
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"factory {factory!r} returned {_kind(made)}, which has no torch network to load "
            f"{str(weights)!r} into; drop `weights` and let the factory load them"
        )
    return network


def _import(factory: str) -> Any:
    named = import_object(factory, "factory")
    if not callable(named) and not hasattr(named, "predict"):
        raise ConfigError(
            f"factory {factory!r} is {_kind(named)}; it must be a function that returns a classifier"
        )
    return named


def _call(
    function: Callable[..., Any], factory: str, offered: dict[str, Any], options: dict[str, Any]
) -> Any:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]  # some builtins have no signature
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for option in options:
            if option not in parameters:
                raise UnknownNameError(f"option of factory {factory!r}", option, list(parameters))
    arguments = {name: value for name, value in offered.items() if name in parameters} | options
    try:
        return function(**arguments)
    except Exception as error:
        listed = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise ConfigError(
            f"factory {factory!r}, called with ({listed}), raised {type(error).__name__}: {error}"
        ) from error


def _check_logits(model: nn.Module, input_shape: tuple[int, ...], nb_classes: int, fill: Any) -> None:
    weight = next(model.parameters(), torch.zeros(()))
    x = torch.zeros((1, *input_shape), dtype=weight.dtype, device=weight.device)
    x += torch.as_tensor(np.asarray(fill), dtype=x.dtype, device=x.device)
    name = type(model).__name__
    try:
        with eval_mode(model), torch.no_grad():
            logits = model(x)
    except Exception as error:
        raise InputError(
            f"{name} cannot take inputs of shape {(1, *input_shape)}: {type(error).__name__}: {error}. "
            "Build it for this data, or choose data of the shape it was made for"
        ) from error
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            f"{name} returns {_kind(logits)}; wrap it so that it returns the logits (n, k) alone"
        )
    if tuple(logits.shape) != (1, nb_classes):
        raise InputError(
            f"{name} maps one sample to outputs of shape {tuple(logits.shape)}, the data has "
            f"{counted(nb_classes, 'class')}, so (1, {nb_classes}) was expected; build it with "
            f"{counted(nb_classes, 'output')}"
        )


def _device(model: nn.Module, device: torch.device | str | None) -> torch.device:
    if device is None:
        return next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        target = torch.device(device)
    except RuntimeError:
        target = torch.device("meta")
    usable = target.type == "cpu" or (
        target.type == "cuda" and (target.index or 0) < torch.cuda.device_count()
    )
    if not usable:
        here = ", ".join(["'cpu'", *(f"'cuda:{i}'" for i in range(torch.cuda.device_count()))])
        raise InputError(f"ART cannot run on device {str(device)!r} here; choose one of {here}")
    return target


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__module__}.{type(value).__qualname__}"
