"""Finds the linear head of a torch model by tracing a forward pass, and verifies it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..errors import HeadNotFoundError, UnsupportedEstimatorError, closest
from ._relation import Form, find_relation

_SPREADS = (0.1, 3.0, 100.0)
"""How far apart the logits lie that are put into the head to see what comes after it."""


_probing: ContextVar[bool] = ContextVar("probing", default=False)


def is_probing() -> bool:
    """Whether the pass that goes on only reads what stands after the head, and is not to be counted."""
    return _probing.get()


class FoundHead(NamedTuple):
    """A layer such that model(x) = form(scale · layer(φ(x))) for every φ.

    Attributes:
        layer: The layer.
        name: Where it is in the model.
        form: The function after it.
        scale: The factor after it.
        is_last: Whether the layer's output itself was returned, so that there is nothing after it.
    """

    layer: nn.Linear
    name: str
    form: Form
    scale: float
    is_last: bool = False


class Call(NamedTuple):
    """One call of a layer in a forward pass."""

    name: str
    layer: nn.Module
    features: Any
    output: Any
    version: int = 0
    """How often the output had been written to when the layer returned it."""

    def is_returned(self, output: Any) -> bool:
        """Whether a model's output is this call's, unchanged: the same tensor, or a view of all of it."""
        z: Tensor = self.output
        if not isinstance(output, Tensor) or _n_writes(z) != self.version:
            return False
        is_whole = output._base is z and output.numel() == z.numel() and output.is_contiguous()
        return output is z or is_whole


def _n_writes(tensor: Any) -> int:
    # How often a tensor was written to in place; tensors of inference mode do not count it
    return tensor._version if isinstance(tensor, Tensor) and not tensor.is_inference() else 0


@contextlib.contextmanager
def watching(*layers: tuple[str, nn.Module], copied: bool = False) -> Iterator[list[Call]]:
    """A list to which every call of the layers in the block is added, in order.

    Args:
        *layers: Name and module.
        copied: Keep a copy of each output, which the model may change afterwards.

    Yields:
        The list.
    """
    calls: list[Call] = []
    with contextlib.ExitStack() as stack:
        for name, layer in layers:

            def see(
                module: nn.Module,
                args: tuple[Any, ...],
                kwargs: dict[str, Any],
                output: Any,
                name: str = name,
            ) -> None:
                kept = output.clone() if copied and isinstance(output, Tensor) else output
                features = args[0] if args else kwargs.get("input")
                calls.append(Call(name, module, features, kept, _n_writes(kept)))

            stack.callback(layer.register_forward_hook(see, with_kwargs=True).remove)
        yield calls


def find_head(
    model: nn.Module, run: Callable[[Tensor], Any], probe: Tensor, nb_classes: int, name: str | None = None
) -> FoundHead:
    """The last `nn.Linear` that the model calls, after a check that the model's output follows from it.

    Two passes: one with the probe, and one in which the head's input is replaced by random features, so that
    any other operation between the head and the output is detected (softmax and a constant factor are followed).

    Args:
        model: The model, in eval mode; hooks are set and removed.
        run: Calls the model on preprocessed inputs and returns what it returns.
        probe: Preprocessed inputs, shape (3, ...).
        nb_classes: Number of classes that the estimator reports.
        name: The submodule to take instead of the last linear layer called.

    Returns:
        The layer, its name, and what the model makes of its output.

    Raises:
        HeadNotFoundError: If there is no such layer.
    """
    title, n = type(model).__name__, probe.shape[0]
    named = None if name is None else _named(model, name)
    with torch.no_grad(), watching(*_layers(model), copied=True) as calls:
        output = check_output(run(probe), n, title)
    linear = [call for call in calls if isinstance(call.layer, nn.Linear)]
    chosen = linear if named is None else [call for call in linear if call.layer is named]
    if not chosen:
        raise HeadNotFoundError(_not_called(title, name, calls, _quantised(model)))
    call = chosen[-1]
    flaw = _flaw(call, calls, output, nb_classes)
    if flaw is None:
        features = _other_features(call)
        with _injecting(call.layer, features), torch.no_grad(), watching(call[:2], copied=True) as again:
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
            f'If another layer is the head, pass head="name" to adapt(): {_listed(others)}.'
            if others
            else "Let the model end in one nn.Linear that is called once and gives the logits."
        )
    )


def read_again(found: FoundHead, model: nn.Module, run: Callable[[Tensor], Any], probe: Tensor) -> FoundHead:
    """What stands after a head now, from one pass in which its input is replaced by random features.

    Args:
        found: The head found by `adapt`.
        model: The model, in eval mode; hooks are set and removed.
        run: Calls the model on preprocessed inputs and returns what it returns.
        probe: Preprocessed inputs, shape (3, ...).

    Returns:
        The head with what stands after it; unchanged where the model returns nothing finite.

    Raises:
        HeadNotFoundError: If the layer is no longer called, or something else stands after it.
    """
    title, layer = type(model).__name__, (found.name, found.layer)
    shape = (len(probe), found.layer.in_features)
    features = _spread_features(found.layer, shape, found.layer.weight)
    token = _probing.set(True)
    try:
        with _injecting(found.layer, features), torch.no_grad(), watching(layer) as calls:
            raw = run(probe)
    finally:
        _probing.reset(token)
    require_called(calls, found, title)
    if calls[0].is_returned(raw):
        return found._replace(form="logits", scale=1.0, is_last=True)
    output = check_output(raw, len(probe), title)
    if not bool(torch.isfinite(output).any()):
        return found._replace(is_last=False)
    weight, bias = found.layer.weight, found.layer.bias
    relation = find_relation(nn.functional.linear(features, weight.detach(), bias), output)
    if relation is None:
        raise HeadNotFoundError(
            f"what stands after the head {found.name!r} of {title} changed after adapt(), and the output is neither a "
            "positive multiple of the head's nor the softmax of one; let the model end in its head and adapt again"
        )
    return found._replace(form=relation[0], scale=relation[1], is_last=False)


def require_called(calls: list[Call], found: FoundHead, title: str) -> None:
    """Refuse a model that does not call its head any more.

    Args:
        calls: The calls of the head in a forward pass.
        found: The head found by `adapt`.
        title: What to call the model.

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
        output: What the model returned.
        n: How many samples it was given.
        title: What to call the model.

    Returns:
        The output; a column if it was one number per sample.

    Raises:
        UnsupportedEstimatorError: If it is anything else.
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
            f"{title} returns shape {tuple(output.shape)} for {n} samples, expected ({n}, k), one row of "
            "logits per sample; wrap it in a module that returns these"
        )
    result: Tensor = output
    return result


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    # The linear layers, and the other innermost layers with weights
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        or (next(module.children(), None) is None and hasattr(module, "weight"))
    ]


def _named(model: nn.Module, name: str) -> nn.Linear:
    modules = dict(model.named_modules())
    if name not in modules:
        linear = [n for n, m in modules.items() if isinstance(m, nn.Linear)]
        near = closest(name, linear) or linear
        raise HeadNotFoundError(
            f"{type(model).__name__} has no submodule {name!r}; "
            + (f"its linear layers: {_listed(near)}" if near else "it has no nn.Linear at all")
        )
    layer = modules[name]
    if not isinstance(layer, nn.Linear):
        raise HeadNotFoundError(f"head={name!r} is a {type(layer).__name__}, expected an nn.Linear")
    return layer


def _flaw(call: Call, calls: list[Call], output: Tensor, nb_classes: int) -> str | None:
    # Why a layer that was called cannot be the head; None if it may be
    n, features, z = output.shape[0], call.features, call.output
    times = sum(c.layer is call.layer for c in calls)
    if times != 1:
        return f"the layer {call.name!r} is called {times} times in one forward pass, expected once"
    if features.ndim != 2 or features.shape[0] != n:
        return (
            f"the input of {call.name!r} has shape {tuple(features.shape)} for {n} samples, expected "
            f"({n}, d), one vector of features per sample"
        )
    if z.shape != output.shape:
        return f"the layer {call.name!r} gives {z.shape[1]} numbers per sample, the model {output.shape[1]}"
    if z.shape[1] != nb_classes and (z.shape[1], nb_classes) != (1, 2):
        return (
            f"the layer {call.name!r} has {z.shape[1]} outputs, the classifier says nb_classes={nb_classes}"
        )
    return None if _is_linear(call) else _why_not_linear(call)


def _why_not_linear(call: Call) -> str:
    layer = call.layer
    hooked = bool(len(layer._forward_hooks) or len(layer._forward_pre_hooks))
    own = type(layer).forward is not nn.Linear.forward or "forward" in vars(layer)
    if own and not hooked:
        return f"the layer {call.name!r} is a {type(layer).__name__}, an nn.Linear whose own forward is not W φ + b"
    return f"the output of {call.name!r} is not W φ + b, because a hook on it changes it"


def _is_linear(call: Call) -> bool:
    # Whether z is W φ + b, as far as the device's arithmetic (half precision, TF32) lets one see
    layer = cast("nn.Linear", call.layer)
    features, z = call.features.double(), call.output.double()
    weight = layer.weight.detach().double()
    offset = torch.zeros_like(z[:1]) if layer.bias is None else layer.bias.detach().double()
    size = features.abs() @ weight.abs().T + offset.abs()
    return bool(((z - features @ weight.T - offset).abs() <= 0.02 * size + 1e-30).all())


def _other_features(call: Call) -> Tensor:
    return _spread_features(cast("nn.Linear", call.layer), call.features.shape, call.features)


def _spread_features(layer: nn.Linear, shape: Sequence[int], like: Tensor) -> Tensor:
    # Random features, of the type and device of others, for which the logits spread by about `_SPREADS`
    weight = layer.weight.detach().double()
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape, generator=generator, dtype=torch.float64).to(like.device)
    spread = (features @ weight.T).abs().amax(dim=1, keepdim=True)
    target = torch.tensor(_SPREADS, dtype=torch.float64, device=features.device)[:, None]
    factor = torch.where(spread > 0, target / spread, 1.0).clamp(max=1e4)
    return (features * factor).to(like.dtype)


@contextlib.contextmanager
def _injecting(layer: nn.Module, features: Tensor) -> Iterator[None]:
    # The layer gets `features` instead of the model's own input.
    handle = layer.register_forward_pre_hook(lambda module, args, kwargs: ((features,), {}), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _not_called(title: str, name: str | None, calls: list[Call], quantised: list[str]) -> str:
    if name is not None:
        linear = [call.name for call in calls if isinstance(call.layer, nn.Linear)]
        called = f"it calls {_listed(linear)}" if linear else "it calls no nn.Linear"
        return f"{title} does not call the layer {name!r} in a forward pass; {called}"
    if quantised and not calls:
        return f"no linear head in {title}: the weights of {_listed(quantised)} are quantised; give the float model"
    if not calls:
        return (
            f"no linear head in {title}: no layer with weights was seen to be called; a scripted model (or, "
            "before torch 2.6, a compiled one) hides its layers, so give the classifier the plain module"
        )
    last, layer = calls[-1][:2]
    packed = callable(getattr(layer, "weight", None)) or "quantized" in type(layer).__module__
    return f"no linear head in {title}: the last layer called is {last!r} ({type(layer).__name__}). " + (
        "Its weights are quantised; give the classifier the float model."
        if packed
        else 'Pass head="name" to adapt().'
    )


def _quantised(model: nn.Module) -> list[str]:
    linear = [(n, type(m)) for n, m in model.named_modules() if hasattr(m, "out_features")]
    return [name for name, cls in linear if ".quantized." in cls.__module__]


def _listed(names: list[str], n: int = 5) -> str:
    return ", ".join(map(repr, list(dict.fromkeys(names))[-n:]))
