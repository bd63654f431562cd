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
