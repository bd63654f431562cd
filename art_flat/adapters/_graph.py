"""Graphs of adapted models, for bounds over balls of inputs."""

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
    """A function that can be bounded: x ↦ module((x − mean) / std)."""

    module: nn.Module
    mean: np.ndarray | None = None
    """Units of `clip_values`; broadcasts over one sample."""
    std: np.ndarray | None = None


def trace_net(net: BoundableNet, input_shape: tuple[int, ...]) -> Graph:
    """The graph of a net with its preprocessing."""
    return certification.trace(net.module, input_shape, mean=net.mean, std=net.std)


def up_to_head(model: nn.Module, head: FoundHead) -> nn.Module:
    """A model that returns its logits: without the softmax or sigmoid after its head, if there is one.

    Args:
        model: The model, in eval mode.
        head: Its head.

    Returns:
        The model itself if it returns its logits, else a copy that ends after the head and its scale.

    Raises:
        UnsupportedLayerError: If torch.fx cannot trace the model.
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
            "values of tensors, or certify with a known Lipschitz constant"
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
    """Whether a graph reproduces a model's logits, within the precision of the model's dtype and device.

    Args:
        graph: The graph.
        samples: A few inputs, shape (n, *input_shape).
        expected: The model's logits there, shape (n, k).

    Returns:
        True if they agree, or if the model's logits are not finite.
    """
    with torch.no_grad():
        logits = graph.forward(samples.to(graph.device, torch.float64))
    if logits.shape[1] == 1:
        logits = torch.cat([-logits / 2, logits / 2], dim=1)
    coarse = 1e-3 if graph.device.type == "cpu" else 1e-2  # devices may compute in TF32
    tolerance = max(coarse, 8 * torch.finfo(expected.dtype).eps)
    wide = expected.to(logits)
    size = wide.abs().amax(dim=1, keepdim=True).clamp(min=1)
    return bool(((logits - wide).abs() <= tolerance * size).all()) or not bool(wide.isfinite().all())
