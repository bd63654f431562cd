"""Forward passes through the user's torch model: inputs in clip units to logits and features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._utils.random import seeded_rng
from ..functional._logits import two_classes
from ._head import FoundHead, check_output, require_called, update_head
from ._layer_calls import Call, recorded_calls
from ._preprocessing import Preprocessing
from ._state import module_attributes_kept
from .outputs import Outputs


class Network(nn.Module):
    """Preprocessing, the model in eval mode, and its logits.

    It holds the model but no estimator, so that attacks may copy it. `train()` has no effect: it stays in eval mode and
    does not change the model. Parameters are not part of the graph.

    Args:
        wrapper: ART's wrapper of the model; its last output is the model's.
        head_info: The head of the model.
        preprocessing: Preprocessing before the model.
        dtype: The model's dtype.
        probe: Preprocessed inputs, shape (3, ...), to identify the layers after the head.
        span: Smallest and largest input, to rescale inputs from [0, 1]; None for inputs in clip units.
    """

    def __init__(
        self,
        wrapper: nn.Module,
        head_info: FoundHead,
        preprocessing: Preprocessing,
        dtype: torch.dtype,
        probe: Tensor,
        span: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.wrapper, self.head_info, self.probe = wrapper, head_info, probe
        self.preprocessing, self.dtype, self.span = preprocessing, dtype, span
        self.training = False

    def train(self, mode: bool = True) -> Network:
        """No effect.

        Args:
            mode: Ignored.

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

    def outputs(self, x: Tensor) -> Outputs:
        """Logits and features of a batch, with a graph if gradients are enabled.

        Args:
            x: Samples, shape (n, ...).

        Returns:
            Logits (n, k) and features (n, d).
        """
        return Outputs(*self.run(x)[:2])

    def run(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One forward pass.

        Args:
            x: Samples, shape (n, ...).

        Returns:
            Logits (n, k), features (n, d), and the model's own output.
        """
        frozen, n = torch.is_grad_enabled(), x.shape[0]
        with module_attributes_kept(self.wrapper, frozen=frozen):
            x = stretch(x.to(self.head_info.layer.weight.device), self.span)
            x = prepare(x, self.preprocessing, self.dtype)
            if not self.head_info.is_last:
                self.read()
            raw, call = self._call(x)
            if self.head_info.is_last and not call.is_returned(
                raw
            ):  # a layer was added after the head since the last call
                self.read()
                raw, call = self._call(x)
        output, features = check_output(raw, n, "the model"), call.features
        logits = (
            output
            if self.head_info.form == "logits"
            else check_output(call.output, n, "the head") * self.head_info.scale
        )
        features = features.reshape(1, -1) if n == 1 else features
        return (two_classes(logits) if logits.shape[1] == 1 else logits), features, output

    def read(self) -> FoundHead:
        """Identify the layers after the head again: they may have changed since the last call.

        Returns:
            The head, with the current function after it.
        """
        with module_attributes_kept(self.wrapper), torch.no_grad(), seeded_rng(0, self.probe.device):
            self.head_info = update_head(
                self.head_info, self.wrapper, lambda x: self.wrapper(x)[-1], self.probe
            )
        return self.head_info

    def _call(self, x: Tensor) -> tuple[Tensor, Call]:
        head_info = self.head_info
        with recorded_calls((head_info.name, head_info.layer), copied=head_info.form != "logits") as calls:
            raw = self.wrapper(x)[-1]
        require_called(calls, head_info, "the model")
        return raw, calls[0]


def stretch(x: Tensor, span: tuple[Tensor, Tensor] | None) -> Tensor:
    """Inputs in clip units, from inputs in [0, 1].

    Args:
        x: Samples, shape (n, ...).
        span: Smallest and largest input; None if `x` is in clip units.

    Returns:
        Samples in clip units.
    """
    if span is None:
        return x
    low, high = (limit.to(x) for limit in span)
    return low + x * (high - low)


def prepare(x: Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> Tensor:
    """Inputs of the model: preprocessed in at least float32, then in the model's dtype.

    Args:
        x: Samples in clip units, shape (n, ...).
        preprocessing: Preprocessing before the model.
        dtype: The model's dtype.

    Returns:
        The inputs of the model.
    """
    return preprocessing(x.to(torch.promote_types(dtype, torch.float32))).to(dtype)
