"""Relative sharpness as a penalty in a training loop."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from ._utils.numbers import check_number
from ._utils.validation import check_definition
from .errors import HeadNotFoundError, InputError
from .functional import relative_sharpness
from .typing import Definition


class FlatnessRegularizer:
    """λ times the mean κ of a batch, from the forward pass that computed the logits.

    A hook on the last linear layer stores that layer's input and output until the penalty is computed: no
    second forward pass, and no second derivative, since κ has a closed form. Gradients flow through the
    logits, the features and the weight's norm. The hook exists only inside the `with` block.

    Args:
        model: Network whose output is that of its last linear layer.
        strength: λ ≥ 0, loss per nat of κ.
        definition: Definition of κ: `"paper"`, `"neuronwise"` or `"unsquared"`.
        head: Name of the last linear layer; the last `nn.Linear` of the model if None.

    Raises:
        HeadNotFoundError: If the layer does not exist.
        InputError: If λ or the definition is invalid.

    Source: the penalty of Adilova et al., FAM: Relative Flatness Aware Minimization (2023); κ in closed form.

    >>> import torch
    >>> from art_flat.models import fcn
    >>> model, x, y = fcn(4, (8,), 3), torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    >>> with FlatnessRegularizer(model, 0.01) as penalty:
    ...     logits = model(x)
    ...     loss = nn.functional.cross_entropy(logits, y) + penalty(logits)
    ...     loss.backward()
    >>> model.head.weight.grad.shape
    torch.Size([3, 8])
    """

    def __init__(
        self, model: nn.Module, strength: float, *, definition: Definition = "paper", head: str | None = None
    ) -> None:
        self.strength = check_number(strength, "strength", "loss per nat of κ", at_least=0.0)
        self.definition = check_definition(definition)
        self.name, self.layer = _head(model, head)
        self._handles: list[Any] = []
        self._weight: Tensor | None = None
        self._seen: tuple[Tensor, Tensor, Tensor] | None = None

    def __enter__(self) -> FlatnessRegularizer:
        if self._handles:
            raise InputError("this FlatnessRegularizer is already in use; make another one")
        self._handles = [self.layer.register_forward_hook(self._record)]
        if is_parametrized(self.layer, "weight"):
            weight: Any = self.layer.parametrizations
            self._handles.append(weight["weight"].register_forward_hook(self._record_weight))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._seen, self._weight = [], None, None

    def __call__(self, logits: Tensor) -> Tensor:
        """The penalty of the last batch of the model; call it once per forward pass.

        Args:
            logits: Outputs of the model, shape (n, k), or (n,) for a logistic model.

        Returns:
            λ · mean κ, a number in nats with a graph, in at least float32.

        Raises:
            InputError: If the model was not called since the last penalty, or `logits` is not the output of its head.
        """
        if not self._handles or self._seen is None:
            raise InputError(
                "there is no forward pass to penalise; inside `with FlatnessRegularizer(model, ...) as penalty:` "
                "call the model, then penalty(logits) once"
            )
        (features, output, weight), self._seen = self._seen, None
        # The same memory: the output itself or a view of it
        if logits.numel() != output.numel() or logits.data_ptr() != output.data_ptr():
            raise InputError(
                f"`logits` is not the output of the layer {self.name!r}; pass what the model returned, and if "
                'another layer gives it, head="name"'
            )
        kappa = relative_sharpness(
            output.flatten(0, -2), features.flatten(0, -2), weight, definition=self.definition
        )
        return self.strength * kappa.mean()

    def _record(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        # A parametrised weight is not read again: under spectral_norm every reading is a power iteration
        self._seen = args[0], output, self.layer.weight if self._weight is None else self._weight

    def _record_weight(self, parametrization: nn.Module, args: tuple[Any, ...], weight: Tensor) -> None:
        self._weight = weight


def _head(model: nn.Module, name: str | None) -> tuple[str, nn.Linear]:
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    title = type(model).__name__
    if not linear:
        raise HeadNotFoundError(f"{title} has no nn.Linear, whose sharpness could be penalised")
    name = list(linear)[-1] if name is None else name
    if name not in linear:
        raise HeadNotFoundError(
            f"{title} has no nn.Linear called {name!r}; it has {', '.join(map(repr, list(linear)[-5:]))}"
        )
    return name, linear[name]
