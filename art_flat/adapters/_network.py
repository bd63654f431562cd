"""Forward passes through the user's torch model: inputs in clip units to logits and features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._utils.random import seeded_rng
from ..functional._logits import two_classes
from ._head import FoundHead, check_output, read_again, require_called
from ._layer_calls import Call, watching
from ._preprocessing import Preprocessing
from ._state import module_attributes_kept


class Network(nn.Module):
    """Preprocessing, the model in eval mode, and its logits.

    It holds the model but no estimator, so that attacks may copy it. Told to train, it stays in eval mode and
    leaves the model inside as it is. Parameters stay out of the graph.

    Args:
        wrapper: ART's wrapper of the model; the last of its outputs is the model's.
        found: The head of the model.
        preprocessing: What comes before the model.
        dtype: The type in which the model computes.
        probe: Preprocessed inputs, shape (3, ...), on which what stands after the head is read.
        span: Smallest and largest input, if inputs in [0, 1] are to be stretched to these.
    """

    def __init__(
        self,
        wrapper: nn.Module,
        found: FoundHead,
        preprocessing: Preprocessing,
        dtype: torch.dtype,
        probe: Tensor,
        span: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.wrapper, self.found, self.probe = wrapper, found, probe
        self.preprocessing, self.dtype, self.span = preprocessing, dtype, span
        self.training = False

    def train(self, mode: bool = True) -> Network:
        """Nothing.

        Args:
            mode: Not used.

        Returns:
            The module itself.
        """
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch.

        Args:
            x: Samples, shape (n, ...).

        Returns:
            Logits, shape (n, k).
        """
        return self.run(x)[0]

    def run(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One forward pass.

        Args:
            x: Samples, shape (n, ...).

        Returns:
            Logits (n, k), features (n, d), and what the model itself returned.
        """
        x = stretch(x.to(self.found.layer.weight.device), self.span)
        x = prepare(x, self.preprocessing, self.dtype)
        frozen, n = torch.is_grad_enabled(), x.shape[0]
        with module_attributes_kept(self.wrapper, frozen=frozen):
            if not self.found.is_last:
                self.read()
            raw, call = self._call(x)
            if self.found.is_last and not call.is_returned(
                raw
            ):  # something stands after the head since the last call
                self.read()
                raw, call = self._call(x)
        output, features = check_output(raw, n, "the model"), call.features
        logits = (
            output
            if self.found.form == "logits"
            else check_output(call.output, n, "the head") * self.found.scale
        )
        features = features.reshape(1, -1) if n == 1 else features
        return (two_classes(logits) if logits.shape[1] == 1 else logits), features, output

    def read(self) -> FoundHead:
        """Read again what stands after the head: it may have changed since the last call.

        Returns:
            The head, with what stands after it now.
        """
        with module_attributes_kept(self.wrapper), torch.no_grad(), seeded_rng(0, self.probe.device):
            self.found = read_again(self.found, self.wrapper, lambda x: self.wrapper(x)[-1], self.probe)
        return self.found

    def _call(self, x: Tensor) -> tuple[Tensor, Call]:
        found = self.found
        with watching((found.name, found.layer), copied=found.form != "logits") as calls:
            raw = self.wrapper(x)[-1]
        require_called(calls, found, "the model")
        return raw, calls[0]


def stretch(x: Tensor, span: tuple[Tensor, Tensor] | None) -> Tensor:
    """Inputs in clip units, from inputs in [0, 1].

    Args:
        x: Samples, shape (n, ...).
        span: Smallest and largest input; None if `x` is in clip units already.

    Returns:
        Samples in clip units.
    """
    if span is None:
        return x
    low, high = (limit.to(x) for limit in span)
    return low + x * (high - low)


def prepare(x: Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> Tensor:
    """Inputs as the model is given them: preprocessed in at least float32, then in the model's type.

    Args:
        x: Samples in clip units, shape (n, ...).
        preprocessing: What comes before the model.
        dtype: The type in which the model computes.

    Returns:
        What the model is called with.
    """
    return preprocessing(x.to(torch.promote_types(dtype, torch.float32))).to(dtype)
