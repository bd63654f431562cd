"""The adapter of ART's PyTorchClassifier."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from .._utils.arrays import to_tensor
from .._utils.modes import eval_mode, outside_inference_mode
from .._utils.random import seeded_rng
from ..certification import Graph
from ..errors import ArtFlatError, UnsupportedEstimatorError
from ._art import ArtAdapter
from ._graph import trace_net, up_to_head
from ._head import FoundHead, find_head, is_probing
from ._network import Network, prepare
from ._state import module_attributes_kept, uncompiled
from ._support import check_kind, check_loss, check_loss_fits, check_placement, ignored_loss_options
from .base import Head, Outputs, Passes

_OWN = ("predict", "_apply_preprocessing", "_apply_postprocessing")
"""Methods that determine a prediction; if a subclass overrides one, its predictions are verified."""


class PyTorchAdapter(ArtAdapter):
    """Adapter of ART's `PyTorchClassifier`, or of a subclass with the same predictions.

    Compiled models are run as uncompiled code, and `nn.DataParallel` on its first device, when art_flat
    calls them; ART's own calls are unchanged.

    Args:
        estimator: The classifier; its model is not changed.
        head: Name of the last linear layer; detected in a forward pass if None.

    Raises:
        HeadNotFoundError: If the model does not end in a linear layer.
        UnsupportedEstimatorError: If the classifier uses an unsupported feature.

    >>> import art_flat as af, numpy as np
    >>> model, loss = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), nn.CrossEntropyLoss()
    >>> net = af.adapt(PyTorchClassifier(model, loss, (1, 2, 2), nb_classes=3, clip_values=(0, 1)))
    >>> net
    PyTorchAdapter(Sequential, head='1' 3×4, input_shape=(1, 2, 2), clip_values=(0.0, 1.0), device='cpu')
    >>> net.relative_sharpness(np.zeros((5, 1, 2, 2)))
    array([0., 0., 0., 0., 0.], dtype=float32)
    >>> x = torch.rand(5, 1, 2, 2)
    >>> torch.equal(net.as_module()(x), net.logits(x))
    True
    """

    @outside_inference_mode
    def __init__(self, estimator: Any, head: str | None = None) -> None:
        check_kind(estimator.model)
        check_placement(estimator.model, estimator.device)
        check_loss(estimator.loss)
        types = [p.dtype for p in estimator.model.parameters() if p.is_floating_point()]
        super().__init__(
            estimator,
            nb_classes=estimator.nb_classes,
            device=estimator.device,
            dtype=types[0] if types else torch.float32,
        )
        self.preprocessing.check_chain()
        with self.guard(), seeded_rng(0, self.device):
            self._network = self._find(head)
        check_loss_fits(estimator.loss, self._network.head_info)
        if any(getattr(type(estimator), name) is not getattr(PyTorchClassifier, name) for name in _OWN):
            with self.guard():
                self._check_predict()

    @property
    def head(self) -> Head:
        """The current linear head; it follows the weights if the model is trained further."""
        head_info = self._network.read()
        check_loss_fits(self.estimator.loss, head_info)
        return self._head_of(head_info)

    @property
    def _last_head(self) -> Head:
        return self._head_of(self._network.head_info)

    def _head_of(self, head_info: FoundHead) -> Head:
        layer = head_info.layer
        with eval_mode(layer):  # in training mode, reading a weight under spectral_norm is a power iteration
            weight, bias = layer.weight.detach(), layer.bias
        return Head.from_layer(
            weight, None if bias is None else bias.detach(), head_info.name, head_info.scale
        )

    @property
    def ignored_loss_options(self) -> tuple[str, ...]:
        """Options by which the classifier's loss differs from −log p_y, and which are ignored."""
        return ignored_loss_options(self.estimator.loss)

    def forward(self, x: Tensor) -> Outputs:
        """Logits and features of one batch; see `Adapter.forward`.

        Args:
            x: Samples on `device`, shape (n, *input_shape).

        Returns:
            Logits and features.
        """
        form = self._network.head_info.form
        with torch.no_grad():  # not inference mode, which does not count in-place writes
            logits, features, _ = self._network.run(x)
        if self._network.head_info.form != form:
            check_loss_fits(self.estimator.loss, self._network.head_info)
        return Outputs(logits.clone(), features.clone())  # a model may keep a reference to its output

    @contextlib.contextmanager
    def counting(self) -> Iterator[Passes]:
        """Count the samples that go through the head while the block runs, from any caller.

        Yields:
            The counts so far.
        """
        passes = Passes()

        def count(module: nn.Module, args: object, output: Tensor) -> None:
            if is_probing():
                return
            n = len(output)  # a reference to the output in the hook would keep its whole graph alive

            def count_back(gradient: Tensor) -> None:
                passes.backwards += n

            passes.forwards += n
            if output.requires_grad:
                output.register_hook(count_back)  # type: ignore[no-untyped-call]

        handle = self._network.head_info.layer.register_forward_hook(count)
        try:
            with uncompiled(self._changeable()):
                yield passes
        finally:
            handle.remove()

    def _module(self, span: tuple[Tensor, Tensor] | None) -> nn.Module:
        network = self._network
        return Network(
            network.wrapper, network.head_info, self.preprocessing, self.dtype, network.probe, span
        )

    def _changeable(self) -> nn.Module:
        wrapper: nn.Module = self.estimator._model
        return wrapper

    def _arguments(self) -> dict[str, Any] | None:
        if type(self.estimator) is not PyTorchClassifier:
            return None  # a subclass may have other arguments
        return {
            "model": self.estimator.model,
            "loss": self.estimator._loss,
            "input_shape": self.estimator.input_shape,
            "nb_classes": self.estimator.nb_classes,
            "channels_first": self.estimator.channels_first,
            "device_type": "gpu" if self.device.type == "cuda" else "cpu",
        }

    def _named_head(self) -> str | None:
        return self._network.head_info.name or None

    def _extractor(self) -> tuple[nn.Module, str | None]:
        name = self._network.head_info.name  # none if the model is the head itself
        return (self.estimator.model, name) if name else (nn.Identity(), None)

    def _trace(self) -> Graph:
        model, head_info = self.estimator.model, self._network.read()
        with module_attributes_kept(self._changeable()):
            return trace_net(self._boundable(up_to_head(model, head_info)), self.input_shape)

    def _weights(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self.estimator.model.state_dict()
        return state

    def _find(self, name: str | None) -> Network:
        wrapper, model = self._changeable(), self.estimator.model
        try:
            with module_attributes_kept(wrapper), torch.no_grad():
                probe = prepare(self._probe(), self.preprocessing, self.dtype)
                head_info = find_head(model, lambda x: wrapper(x)[-1], probe, self.nb_classes, name)
        except ArtFlatError:
            raise
        except Exception as error:
            shape = ", ".join(map(str, (3, *self.input_shape)))
            raise UnsupportedEstimatorError(
                f"{type(model).__name__} failed on a probe of shape ({shape}): {error}; check the "
                "classifier's input_shape and preprocessing"
            ) from error
        network = Network(wrapper, head_info, self.preprocessing, self.dtype, probe)
        network.read()
        return network

    def _probe(self) -> Tensor:
        # Three inputs drawn uniformly from the clip range with a fixed seed
        low, high = (to_tensor(v, dtype=torch.float64) for v in self.clip_values or (0.0, 1.0))
        if not bool(torch.isfinite(high - low).all()):
            low, high = torch.zeros(()), torch.ones(())
        generator = torch.Generator().manual_seed(0)
        drawn = torch.rand((3, *self.input_shape), generator=generator, dtype=torch.float64)
        return (low + drawn * (high - low)).to(self.device, torch.float32)

    def _check_predict(self) -> None:
        # A subclass with overridden methods must predict the output of its model.
        x, name = self._probe(), type(self.estimator).__name__
        with seeded_rng(0, self.device), torch.no_grad():
            expected = self._network.run(x)[2].cpu()
        with seeded_rng(0, self.device):
            try:
                seen = to_tensor(self.estimator.predict(x.cpu().numpy())).to(expected.dtype)
            except Exception as error:
                raise UnsupportedEstimatorError(f"{name}.predict failed on a probe: {error}") from error
        if seen.shape != expected.shape or not torch.allclose(seen, expected, rtol=1e-3, atol=1e-3):
            raise UnsupportedEstimatorError(
                f"{name}.predict returns something else than its model does, so that the model's logits "
                "would not be those of the predictions; adapt a PyTorchClassifier of the model instead"
            )
