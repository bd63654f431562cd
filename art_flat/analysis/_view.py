"""An adapted classifier wrapped by a recorder or with a scaled head; the user's model is not changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from ..adapters.base import Adapter, Head, Outputs, Passes


class View(Adapter):
    """An adapter that delegates to another adapter; subclasses override single methods.

    Args:
        net: The wrapped adapter.
    """

    def __init__(self, net: Adapter) -> None:
        super().__init__(
            net.estimator,
            nb_classes=net.nb_classes,
            input_shape=net.input_shape,
            clip_values=net.clip_values,
            device=net.device,
            dtype=net.dtype,
        )
        self.net = net

    @property
    def head(self) -> Head:
        """See `Adapter.head`."""
        return self.net.head

    def forward(self, x: Tensor) -> Outputs:
        """See `Adapter.forward`."""
        return self.net.forward(x)

    def as_module(self, *, unit_range: bool = False, estimate_gradients: bool = False) -> nn.Module:
        """See `Adapter.as_module`."""
        return self.net.as_module(unit_range=unit_range, estimate_gradients=estimate_gradients)

    def identity(self) -> dict[str, str]:
        """See `Adapter.identity`."""
        return self.net.identity()

    def guard(self) -> contextlib.AbstractContextManager[list[str]]:
        """See `Adapter.guard`."""
        return self.net.guard()

    @contextlib.contextmanager
    def counting(self) -> Iterator[Passes]:
        """See `Adapter.counting`."""
        with self.net.counting() as passes:
            yield passes
