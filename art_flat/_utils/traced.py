"""Nets as graphs of `torch.fx`: recording, and descriptions of nodes for messages."""

from __future__ import annotations

from torch import fx, nn

from ..errors import UnsupportedLayerError


def record(module: nn.Module, advice: str, tracer: fx.Tracer | None = None) -> tuple[nn.Module, fx.Graph]:
    """Record the calls of a net.

    Args:
        module: The net; a single layer is recorded as a net of one layer.
        advice: The end of the message where the net cannot be recorded.
        tracer: The tracer; None for the plain one.

    Returns:
        The module that the names in the graph refer to, and the graph.

    Raises:
        UnsupportedLayerError: If `torch.fx` cannot trace the net.
    """
    tracer = tracer or fx.Tracer()
    root = nn.Sequential(module) if tracer.is_leaf_module(module, "") else module
    try:
        return root, tracer.trace(root)
    except Exception as error:  # a forward method may raise anything on symbolic values
        raise UnsupportedLayerError(
            f"torch.fx cannot follow {type(module).__name__}: {error}. {advice}"
        ) from error


def describe(net: fx.Interpreter, node: fx.Node) -> str:
    """A node as messages name it: its place in the net and its kind."""
    if node.op == "call_module":
        return f"{str(node.target)!r} ({type(net.fetch_attr(str(node.target))).__name__})"
    if node.op in {"call_function", "call_method"}:
        return f"{node.name!r} ({getattr(node.target, '__name__', node.target)})"
    return f"the net's {'input' if node.op == 'placeholder' else node.op} {node.name!r}"
