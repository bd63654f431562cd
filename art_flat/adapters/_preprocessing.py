"""ART's preprocessing as operations on tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from art.defences.preprocessor.preprocessor import Preprocessor, PreprocessorPyTorch
from art.preprocessing.standardisation_mean_std.numpy import StandardisationMeanStd
from art.preprocessing.standardisation_mean_std.pytorch import StandardisationMeanStdPyTorch
from art.preprocessing.standardisation_mean_std.utils import broadcastable_mean_std
from torch import Tensor

from .._utils.arrays import to_numpy, to_tensor
from ..errors import UnsupportedEstimatorError


class Preprocessing:
    """The preprocessing defences and the standardisation of an ART estimator, in order.

    Those written in torch, and ART's own standardisation, run in torch; a defence written in NumPy is called
    on arrays, and its backward pass is the estimate that the defence provides.

    Args:
        operations: The estimator's `preprocessing_operations`; the list is not copied, so that changes take effect.
    """

    def __init__(self, operations: Sequence[Preprocessor]) -> None:
        self._operations = operations

    def __call__(self, x: Tensor) -> Tensor:
        """The preprocessed inputs.

        Args:
            x: Samples, shape (n, ...).

        Returns:
            Samples with the dtype and shape of the last operation's output.
        """
        for operation in self._steps():
            if isinstance(operation, StandardisationMeanStd):
                x = _standardised(operation, x)
            elif not isinstance(operation, PreprocessorPyTorch):
                x = _Estimated.apply(x, operation)
            elif _is_differentiable(operation):
                x = operation.forward(x, None)[0]
            else:
                estimate = operation.estimate_forward(x)
                x = estimate + (operation.forward(x, None)[0] - estimate).detach()
        return x

    def without_gradient(self) -> list[str]:
        """The defences that have only an estimated gradient.

        Returns:
            Their class names.
        """
        return [type(o).__name__ for o in self._steps() if not _is_differentiable(o)]

    def check_chain(self) -> None:
        """Require a chain of operations that ART supports in a PyTorch estimator.

        Raises:
            UnsupportedEstimatorError: If a NumPy defence is followed by more than one standardisation.
        """
        last = self._operations[-1] if self._operations else None
        standardised = isinstance(last, (StandardisationMeanStd, StandardisationMeanStdPyTorch))
        in_torch = all(isinstance(o, PreprocessorPyTorch) for o in self._operations)
        if not in_torch and len(self._operations) > 1 + standardised:
            raise UnsupportedEstimatorError(
                f"ART cannot chain the preprocessing {', '.join(type(o).__name__ for o in self._operations)}"
                ": a defence written in NumPy may stand alone or before the mean/std preprocessing; use its "
                "PyTorch version"
            )

    def lipschitz(self) -> float:
        """The Lipschitz constant of the preprocessing, in every norm.

        Returns:
            The product of the largest 1/std of every standardisation; 1 without one.

        Raises:
            UnsupportedEstimatorError: If there is a defence.
        """
        factor = 1.0
        for operation in self._steps():
            if not isinstance(operation, (StandardisationMeanStd, StandardisationMeanStdPyTorch)):
                raise UnsupportedEstimatorError(
                    f"no Lipschitz constant is known of the preprocessing defence {type(operation).__name__}; "
                    'give the constant of the whole: kind="given", value=...'
                )
            factor *= float(np.max(1 / np.abs(np.asarray(operation.std, dtype=np.float64))))
        return factor

    def mean_and_std(self, input_shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and standard deviation of a preprocessing x ↦ (x − mean) / std without defences.

        Args:
            input_shape: Shape of one sample.

        Returns:
            Both in units of `clip_values`, float64, broadcasting over one sample; None if there is no preprocessing.

        Raises:
            UnsupportedEstimatorError: If there is a defence.
        """
        mean, std = np.zeros(1), np.ones(1)
        sample = np.zeros((1, *input_shape), dtype=np.float32)
        for operation in self._steps():
            if not isinstance(operation, (StandardisationMeanStd, StandardisationMeanStdPyTorch)):
                raise UnsupportedEstimatorError(
                    f"no bounds over a ball are known of the preprocessing defence {type(operation).__name__}; leave "
                    "it out to certify the model behind it"
                )
            pair = (np.asarray(to_numpy(v)) for v in (operation.mean, operation.std))
            next_mean, next_std = (np.asarray(v, np.float64)[0] for v in _broadcast(sample, *pair))
            mean, std = mean + std * next_mean, std * next_std
        return (mean, std) if self._steps() else None

    def parameters(self) -> Iterator[tuple[str, Any]]:
        """The parameters of every operation, to be hashed.

        Yields:
            Name, with the operation's class, and value.
        """
        for operation in self._steps():
            name = f"{type(operation).__module__}.{type(operation).__qualname__}"
            yield name, None
            for parameter in sorted(operation.params):
                yield f"{name}.{parameter}", getattr(operation, parameter, None)

    def _steps(self) -> list[Preprocessor]:
        return [operation for operation in self._operations if operation.apply_predict]


def _broadcast(sample: np.ndarray, mean: np.ndarray, std: np.ndarray) -> list[np.ndarray]:
    # ART stores a single number without axes
    shaped = broadcastable_mean_std(sample, mean, std)
    return [v.reshape((1,) * (sample.ndim - v.ndim) + v.shape) for v in map(np.asarray, shaped)]


def _is_differentiable(operation: Preprocessor) -> bool:
    # An operation with its own estimate of the forward pass is not differentiable.
    if isinstance(operation, PreprocessorPyTorch):
        return type(operation).estimate_forward is PreprocessorPyTorch.estimate_forward
    return isinstance(operation, StandardisationMeanStd)


def _standardised(operation: StandardisationMeanStd, x: Tensor) -> Tensor:
    # (x − mean)/std rounded to float32, as ART's NumPy version does it
    mean, std = broadcastable_mean_std(x, operation.mean, operation.std)
    mean, std = to_tensor(mean, device=x.device), to_tensor(std, device=x.device)
    return ((x - mean) / std).to(torch.float32)


class _Estimated(torch.autograd.Function):
    """A defence written in NumPy, with its `estimate_gradient` as the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, operation: Preprocessor) -> Tensor:
        ctx.x, ctx.operation = np.array(to_numpy(x)), operation
        result, _ = operation(ctx.x.copy(), None)
        return to_tensor(result, device=x.device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0]
        estimate = ctx.operation.estimate_gradient(ctx.x.copy(), np.array(to_numpy(gradient)))
        return to_tensor(estimate, device=gradient.device), None
