"""Finds the linear head of a torch model by tracing a forward pass, and verifies it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from .._utils.formatting import counted
from ..errors import HeadNotFoundError, UnsupportedEstimatorError
from ._head_candidates import flaw_as_head, listed, named_layer, why_not_called
from ._layer_calls import Call, recorded_calls
from ._relation import Form, find_relation

_SPREADS = (0.1, 3.0, 100.0)
"""Spreads of the logits that are passed through the layers after the head to identify them."""


_probing: ContextVar[bool] = ContextVar("probing", default=False)


def is_probing() -> bool:
    """Whether the current pass only identifies the layers after the head, and must not be counted."""
    return _probing.get()


class FoundHead(NamedTuple):
    """A layer such that model(x) = form(scale · layer(φ(x))) for every φ.

    Attributes:
        layer: The layer.
        name: Name of the submodule.
        form: The function after it.
        scale: The factor after it.
        is_last: Whether the model returns the layer's output itself.
    """

    layer: nn.Linear
    name: str
    form: Form
    scale: float
    is_last: bool = False


def find_head(
    model: nn.Module, run: Callable[[Tensor], Any], probe: Tensor, nb_classes: int, name: str | None = None
) -> FoundHead:
    """The last `nn.Linear` that the model calls, verified to determine the model's output.

    Two passes: one with the probe, and one in which the head's input is replaced by random features, so that
    any other operation between the head and the output is detected (softmax and a constant factor are supported).

    Args:
        model: The model, in eval mode; hooks are set and removed.
        run: Calls the model on preprocessed inputs and returns its output.
        probe: Preprocessed inputs, shape (3, ...).
        nb_classes: Number of classes of the estimator.
        name: Submodule to use instead of the last linear layer called.

    Returns:
        The layer, its name, and the function after it.

    Raises:
        HeadNotFoundError: If there is no such layer.
    """
    title, n = type(model).__name__, probe.shape[0]
    named = None if name is None else named_layer(model, name)
    with torch.no_grad(), recorded_calls(*_layers(model), copied=True) as calls:
        output = check_output(run(probe), n, title)
    linear = [call for call in calls if isinstance(call.layer, nn.Linear)]
    chosen = linear if named is None else [call for call in linear if call.layer is named]
    if not chosen:
        raise HeadNotFoundError(why_not_called(model, name, calls))
    call = chosen[-1]
    flaw = flaw_as_head(call, calls, output, nb_classes)
    if flaw is None:
        features = _other_features(call)
        with (
            _injecting(call.layer, features),
            torch.no_grad(),
            recorded_calls(call[:2], copied=True) as again,
        ):
            second = check_output(run(probe), n, title)
        relation = find_relation(torch.cat([call.output, again[0].output]), torch.cat([output, second]))
        if relation is not None:
            return FoundHead(cast("nn.Linear", call.layer), name or call.name, *relation)
        flaw = (
            f"the model's output is neither the output of {call.name!r}, nor a positive multiple of it, nor "
            "the softmax of one: something after the layer changes it"
        )
    last = calls[-1]
    if last.layer is not call.layer:
        flaw = f"the last layer called is {last.name!r} ({type(last.layer).__name__}), and {flaw}"
    others = [c.name for c in linear if c.layer is not call.layer]
    raise HeadNotFoundError(
        f"no linear head in {title}: {flaw}. "
        + (
            f'If another layer is the head, pass head="name" to adapt(): {listed(others)}.'
            if others
            else "Let the model end in one nn.Linear that is called once and gives the logits."
        )
    )


def update_head(found: FoundHead, model: nn.Module, run: Callable[[Tensor], Any], probe: Tensor) -> FoundHead:
    """Identify the layers after a head again, in one pass with random features as its input.

    Args:
        found: The head found by `adapt`.
        model: The model, in eval mode; hooks are set and removed.
        run: Calls the model on preprocessed inputs and returns its output.
        probe: Preprocessed inputs, shape (3, ...).

    Returns:
        The head with the current function after it; unchanged if the model's output is not finite.

    Raises:
        HeadNotFoundError: If the layer is no longer called, or is followed by an unsupported function.
    """
    title, layer = type(model).__name__, (found.name, found.layer)
    shape = (len(probe), found.layer.in_features)
    features = _spread_features(found.layer, shape, found.layer.weight)
    token = _probing.set(True)
    try:
        with _injecting(found.layer, features), torch.no_grad(), recorded_calls(layer) as calls:
            raw = run(probe)
    finally:
        _probing.reset(token)
    require_called(calls, found, title)
    if calls[0].is_returned(raw):
        return found._replace(form="logits", scale=1.0, is_last=True)
    output = check_output(raw, len(probe), title)
    if not bool(torch.isfinite(output).any()):
        return found._replace(is_last=False)
    relation = find_relation(_without_hooks(calls[0]), output)
    if relation is None:
        raise HeadNotFoundError(
            f"what stands after the head {found.name!r} of {title} changed after adapt(), and the output is neither a "
            "positive multiple of the head's nor the softmax of one; let the model end in its head and adapt again"
        )
    return found._replace(form=relation[0], scale=relation[1], is_last=False)


def _without_hooks(call: Call) -> Tensor:
    """W φ + b, which hooks and operations in place may have changed, in the dtype of the output, as under autocast."""
    layer, dtype = cast("nn.Linear", call.layer), call.output.dtype
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)
    return nn.functional.linear(call.features.to(dtype), layer.weight.detach().to(dtype), bias)


def require_called(calls: list[Call], found: FoundHead, title: str) -> None:
    """Require that a model still calls its head.

    Args:
        calls: The calls of the head in a forward pass.
        found: The head found by `adapt`.
        title: Name of the model, for messages.

    Raises:
        HeadNotFoundError: If there is no call.
    """
    if not calls:
        raise HeadNotFoundError(
            f"{title} no longer calls the head {found.name!r} that adapt() found; if it was replaced, adapt again"
        )


def check_output(output: Any, n: int, title: str) -> Tensor:
    """The model's output as a tensor of shape (n, k).

    Args:
        output: Output of the model.
        n: Number of input samples.
        title: Name of the model, for messages.

    Returns:
        The output; one column for one number per sample.

    Raises:
        UnsupportedEstimatorError: If it has a different type or shape.
    """
    if not isinstance(output, Tensor):
        raise UnsupportedEstimatorError(
            f"{title} returns a {type(output).__name__}, expected one tensor of logits, shape (n, k); wrap "
            "it in a module whose forward returns the logits alone"
        )
    if output.ndim <= 1:  # a model that squeezes a batch of one drops its axis too
        output = output.reshape(n, -1) if n == 1 else output[..., None]
    if output.ndim != 2 or output.shape[0] != n:
        raise UnsupportedEstimatorError(
            f"{title} returns shape {tuple(output.shape)} for {counted(n, 'sample')}, expected ({n}, k), one row of "
            "logits per sample; wrap it in a module that returns these"
        )
    result: Tensor = output
    return result


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    # The linear layers, and the other leaf modules with weights
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        or (next(module.children(), None) is None and hasattr(module, "weight"))
    ]


def _other_features(call: Call) -> Tensor:
    return _spread_features(cast("nn.Linear", call.layer), call.features.shape, call.features)


def _spread_features(layer: nn.Linear, shape: Sequence[int], like: Tensor) -> Tensor:
    # Random features, with dtype and device of `like`, for which the logits spread by about `_SPREADS`
    weight = layer.weight.detach().double()
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape, generator=generator, dtype=torch.float64).to(like.device)
    spread = (features @ weight.T).abs().amax(dim=1, keepdim=True)
    target = torch.tensor(_SPREADS, dtype=torch.float64, device=features.device)[:, None]
    factor = torch.where(spread > 0, target / spread, 1.0).clamp(max=1e4)
    return (features * factor).to(like.dtype)


@contextlib.contextmanager
def _injecting(layer: nn.Module, features: Tensor) -> Iterator[None]:
    # The layer gets `features` instead of its input.
    handle = layer.register_forward_pre_hook(lambda module, args, kwargs: ((features,), {}), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
