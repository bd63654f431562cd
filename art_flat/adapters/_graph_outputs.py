"""Logits and features with a graph, from the modules that adapters return."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import UnsupportedEstimatorError
from .outputs import Outputs


def outputs_with_graph(module: nn.Module, x: Tensor) -> Outputs:
    """Logits and features of one pass, through both of which gradients with respect to `x` flow.

    Args:
        module: A module from `Adapter.as_module`, with the method `outputs`.
        x: Inputs of the module, shape (n, ...).

    Returns:
        Logits (n, k) and features (n, d).

    Raises:
        UnsupportedEstimatorError: If the module has no such method.
    """
    outputs = getattr(module, "outputs", None)
    if outputs is None:
        raise UnsupportedEstimatorError(
            f"{type(module).__name__} does not show its features, so the gradient of κ is unknown; give the "
            "module that as_module returns a method outputs(x) -> Outputs(logits, features)"
        )
    found: Outputs = outputs(x)
    return found
