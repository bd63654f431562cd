"""An adapted model as a graph of layers, from which bounds over balls of inputs are found."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn

from .. import certification
from ..certification import Graph
from ..errors import UnsupportedLayerError
from ._head import FoundHead


@dataclass(frozen=True)
class BoundableNet:
    """What bounds are found for: x ↦ module((x − mean) / std)."""

    module: nn.Module
    mean: np.ndarray | None = None
    """Units of `clip_values`; broadcasts over one sample."""
    std: np.ndarray | None = None


def trace_net(found: BoundableNet, input_shape: tuple[int, ...]) -> Graph:
    """The graph of a net with its preprocessing."""
    return certification.trace(found.module, input_shape, mean=found.mean, std=found.std)


def up_to_head(model: nn.Module, head: FoundHead) -> nn.Module:
    """A model that returns its logits: without the softmax or sigmoid after its head, if there is one.

    Args:
        model: The model, in eval mode.
        head: Its head.

    Returns:
        The model itself where it returns its logits, else a copy that ends after the head and its scale.

    Raises:
        UnsupportedLayerError: If torch.fx cannot follow the model.
    """
    if head.form == "logits" and head.layer.out_features > 1:
        return model
    if model is head.layer:
        return _scaled(copy.deepcopy(head.layer), head.scale)
    try:
        traced = fx.symbolic_trace(copy.deepcopy(model))
    except Exception as error:  # a forward method may raise anything on symbolic values
        raise UnsupportedLayerError(
            f"torch.fx cannot follow {type(model).__name__}: {error}. Write its forward without branches on the "
            "values of tensors, or certify with a Lipschitz constant that you know"
        ) from error
    calls = [n for n in traced.graph.nodes if n.op == "call_module" and n.target == head.name]
    output = traced.graph.output_node()
    output.args = (calls[-1],)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return _scaled(traced, head.scale).eval()


def _scaled(module: nn.Module, scale: float) -> nn.Module:
    return module if scale == 1 else nn.Sequential(module, _Multiply(scale)).eval()


class _Multiply(nn.Module):
    """A factor after the head."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, z: Tensor) -> Tensor:
        return z * self.factor


def same_logits(graph: Graph, samples: Tensor, expected: Tensor) -> bool:
    """Whether a graph gives a model's logits, as far as the model's type and device let one see.

    Args:
        graph: The graph.
        samples: A few inputs, shape (n, *input_shape).
        expected: The model's logits there, shape (n, k).

    Returns:
        True if it does, or if the model's logits are not finite.
    """
    with torch.no_grad():
        found = graph.forward(samples.to(graph.device, torch.float64))
    if found.shape[1] == 1:
        found = torch.cat([-found / 2, found / 2], dim=1)
    coarse = 1e-3 if graph.device.type == "cpu" else 1e-2  # devices may compute in TF32
    tolerance = max(coarse, 8 * torch.finfo(expected.dtype).eps)
    wide = expected.to(found)
    size = wide.abs().amax(dim=1, keepdim=True).clamp(min=1)
    return bool(((found - wide).abs() <= tolerance * size).all()) or not bool(wide.isfinite().all())
