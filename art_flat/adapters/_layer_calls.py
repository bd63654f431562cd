"""Records the calls of a model's layers in a forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn


class Call(NamedTuple):
    """One call of a layer in a forward pass."""

    name: str
    layer: nn.Module
    features: Any
    output: Any
    version: int = 0
    """Number of in-place writes to the output when the layer returned it."""

    def is_returned(self, output: Any) -> bool:
        """Whether a model's output is this call's, unchanged: the same tensor, or a view of all of it."""
        z: Tensor = self.output
        if not isinstance(output, Tensor) or _n_writes(z) != self.version:
            return False
        is_whole = output._base is z and output.numel() == z.numel() and output.is_contiguous()
        return output is z or is_whole


def _n_writes(tensor: Any) -> int:
    # Number of in-place writes to a tensor; tensors of inference mode do not count them
    return tensor._version if isinstance(tensor, Tensor) and not tensor.is_inference() else 0


@contextlib.contextmanager
def recorded_calls(*layers: tuple[str, nn.Module], copied: bool = False) -> Iterator[list[Call]]:
    """Record every call of some layers in the block, in order.

    Args:
        *layers: Name and module.
        copied: Store a copy of each output, since the model may change it afterwards.

    Yields:
        The list of calls.
    """
    calls: list[Call] = []
    with contextlib.ExitStack() as stack:
        for name, layer in layers:

            def record(
                module: nn.Module,
                args: tuple[Any, ...],
                kwargs: dict[str, Any],
                output: Any,
                name: str = name,
            ) -> None:
                stored = output.clone() if copied and isinstance(output, Tensor) else output
                features = args[0] if args else kwargs.get("input")
                calls.append(Call(name, module, features, stored, _n_writes(stored)))

            stack.callback(layer.register_forward_hook(record, with_kwargs=True).remove)
        yield calls
