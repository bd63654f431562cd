"""Parts of a ball that branching bounds one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ._preactivations import Known


@dataclass
class Parts:
    """Parts of one sample's ball."""

    value: torch.Tensor
    """Upper bounds of the loss, shape (n,), nats."""
    lower: torch.Tensor
    """Lower bounds of the margins, shape (n, k − 1)."""
    upper: torch.Tensor
    """Upper bounds of the margins."""
    score: torch.Tensor
    """Score of each undecided argument, of all nodes concatenated, shape (n, d); 0 where it is decided."""
    known: Known
    """Bounds of the arguments of every nonlinear step."""
    signs: dict[int, torch.Tensor]
    """Per node of a ReLU's arguments: 1 or −1 where the part is one side of 0, else 0, laid out."""
    beta: dict[int, torch.Tensor]
    """Multipliers β of the signs, like them."""
    alpha: dict[int, torch.Tensor]
    """Slopes of the lower lines of open ReLUs, per node, laid out."""

    def take(self, index: torch.Tensor) -> Parts:
        """Some of the parts."""
        return self._mapped(lambda t, _: t[index])

    def joined(self, other: Parts) -> Parts:
        """These and other parts."""
        return self._mapped(lambda t, u: torch.cat([t, u]), other)

    def _mapped(self, f: Callable[..., torch.Tensor], other: Parts | None = None) -> Parts:
        other = self if other is None else other
        known = {
            i: (f(low, other.known[i][0]), f(high, other.known[i][1]))
            for i, (low, high) in self.known.items()
        }
        fields: dict[str, Any] = {"known": known}
        for name in ("value", "lower", "upper", "score"):
            fields[name] = f(getattr(self, name), getattr(other, name))
        for name in ("signs", "beta", "alpha"):
            fields[name] = {i: f(t, getattr(other, name)[i]) for i, t in getattr(self, name).items()}
        return Parts(**fields)

    def __len__(self) -> int:
        return len(self.value)
