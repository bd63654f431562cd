"""Checks of layers as candidates for a model's linear head, with reasons for rejection."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .._utils.formatting import counted
from ..errors import HeadNotFoundError, closest
from ._layer_calls import Call


def named_layer(model: nn.Module, name: str) -> nn.Linear:
    """The linear layer that a user named as the head.

    Args:
        model: The model.
        name: Name of the submodule.

    Returns:
        The layer.

    Raises:
        HeadNotFoundError: If there is no such layer; the message lists the linear ones.
    """
    modules = dict(model.named_modules())
    if name not in modules:
        linear = [n for n, m in modules.items() if isinstance(m, nn.Linear)]
        near = closest(name, linear) or linear
        raise HeadNotFoundError(
            f"{type(model).__name__} has no submodule {name!r}; "
            + (f"its linear layers: {listed(near)}" if near else "it has no nn.Linear at all")
        )
    layer = modules[name]
    if not isinstance(layer, nn.Linear):
        raise HeadNotFoundError(f"head={name!r} is a {type(layer).__name__}, expected an nn.Linear")
    return layer


def flaw_as_head(call: Call, calls: list[Call], output: Tensor, nb_classes: int) -> str | None:
    """The reason why a called layer cannot be the head, or None.

    Args:
        call: The call of the layer.
        calls: All calls of layers in the forward pass.
        output: The model's output, shape (n, k).
        nb_classes: Number of classes of the estimator.

    Returns:
        The reason; None if the layer may be the head.
    """
    n, features, z = output.shape[0], call.features, call.output
    times = sum(c.layer is call.layer for c in calls)
    if times != 1:
        return (
            f"the layer {call.name!r} is called {counted(times, 'time')} in one forward pass, expected once"
        )
    if features.ndim != 2 or features.shape[0] != n:
        return (
            f"the input of {call.name!r} has shape {tuple(features.shape)} for {counted(n, 'sample')}, expected "
            f"({n}, d), one vector of features per sample"
        )
    if z.shape != output.shape:
        return f"the layer {call.name!r} gives {counted(z.shape[1], 'number')} per sample, the model {output.shape[1]}"
    if z.shape[1] != nb_classes and (z.shape[1], nb_classes) != (1, 2):
        return (
            f"the layer {call.name!r} has {counted(z.shape[1], 'output')}, the classifier says "
            f"nb_classes={nb_classes}"
        )
    return None if _is_linear(call) else _why_not_linear(call)


def _why_not_linear(call: Call) -> str:
    layer = call.layer
    if not bool(torch.isfinite(call.features).all()):
        return (
            f"the features passed to {call.name!r} are NaN or infinite; look for overflow in half precision, divisions "
            "by zero and logarithms of 0 before it, and for inputs in another range than in training"
        )
    hooked = bool(len(layer._forward_hooks) or len(layer._forward_pre_hooks))
    overrides_forward = type(layer).forward is not nn.Linear.forward or "forward" in vars(layer)
    if overrides_forward and not hooked:
        return f"the layer {call.name!r} is a {type(layer).__name__}, an nn.Linear whose own forward is not W φ + b"
    return f"the output of {call.name!r} is not W φ + b, because a hook on it changes it"


def _is_linear(call: Call) -> bool:
    # Whether z is W φ + b, within the precision of the device (half precision, TF32)
    layer = cast("nn.Linear", call.layer)
    features, z = call.features.double(), call.output.double()
    weight = layer.weight.detach().double()
    offset = torch.zeros_like(z[:1]) if layer.bias is None else layer.bias.detach().double()
    size = features.abs() @ weight.abs().T + offset.abs()
    return bool(((z - features @ weight.T - offset).abs() <= 0.02 * size + 1e-30).all())


def why_not_called(model: nn.Module, name: str | None, calls: list[Call]) -> str:
    """The error message if no linear layer was called, or not the requested one.

    Args:
        model: The model.
        name: The requested layer, or None.
        calls: All calls of layers in the forward pass.

    Returns:
        The message.
    """
    title, quantised = type(model).__name__, _quantised(model)
    if name is not None:
        linear = [call.name for call in calls if isinstance(call.layer, nn.Linear)]
        called = f"it calls {listed(linear)}" if linear else "it calls no nn.Linear"
        return f"{title} does not call the layer {name!r} in a forward pass; {called}"
    if quantised and not calls:
        return f"no linear head in {title}: the weights of {listed(quantised)} are quantised; give the float model"
    if not calls:
        return (
            f"no linear head in {title}: no call of a layer with weights was observed; a scripted model (or, "
            "before torch 2.6, a compiled one) hides its layers, so give the classifier the plain module"
        )
    last, layer = calls[-1][:2]
    packed = callable(getattr(layer, "weight", None)) or "quantized" in type(layer).__module__
    if packed:
        advice = "Its weights are quantised; give the classifier the float model."
    elif isinstance(layer, nn.Conv2d) and set(layer.kernel_size) == {1} and layer.groups == 1:
        advice = (
            "κ has its closed form for one linear map of one feature vector per sample; a 1×1 convolution at several "
            "positions is not one. At a single position, or if only mean pooling follows it, pool first and replace "
            f"it by nn.Flatten() and nn.Linear({layer.in_channels}, {layer.out_channels}) with its weight.flatten(1)"
        )
    else:
        advice = 'Pass head="name" to adapt().'
    return f"no linear head in {title}: the last layer called is {last!r} ({type(layer).__name__}). {advice}"


def _quantised(model: nn.Module) -> list[str]:
    linear = [(n, type(m)) for n, m in model.named_modules() if hasattr(m, "out_features")]
    return [name for name, cls in linear if ".quantized." in cls.__module__]


def listed(names: list[str], n: int = 5) -> str:
    """The last few of some names, quoted."""
    return ", ".join(map(repr, list(dict.fromkeys(names))[-n:]))
