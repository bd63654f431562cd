"""Settings of torch and NumPy for the whole process, restored after third-party code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def global_state_kept() -> Iterator[list[str]]:
    """Restore the global settings of torch and NumPy when the block ends, also after an exception.

    These are the default dtype and device, deterministic algorithms, cuDNN's flags, the precision of matrix products,
    threads, anomaly detection, and NumPy's handling of floating-point errors.

    Yields:
        A list that, once the block has ended, names the settings that had changed.

    >>> with global_state_kept() as changed:
    ...     torch.set_default_dtype(torch.float64)
    >>> changed, torch.get_default_dtype()
    (['default dtype'], torch.float32)
    """
    changed: list[str] = []
    before = _settings()
    with np.errstate():
        try:
            yield changed
        finally:
            after = _settings()
            changed += [name for name in before if after[name] != before[name]]
            for name in changed:
                _restore(name, before[name])


def _settings() -> dict[str, tuple[object, ...]]:
    cudnn = torch.backends.cudnn
    return {
        "default dtype": (torch.get_default_dtype(),),
        "default device": (torch.get_default_device(),),
        "deterministic algorithms": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "cuDNN flags": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
        "precision of matrix products": (torch.get_float32_matmul_precision(),),
        "threads": (torch.get_num_threads(),),
        "anomaly detection": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "NumPy's errors": (tuple(np.geterr().items()),),
    }


def _restore(name: str, values: tuple[object, ...]) -> None:
    if name == "default dtype":
        torch.set_default_dtype(*values)  # type: ignore[arg-type]
    elif name == "default device":
        is_default = values == (torch.device("cpu"),)
        torch.set_default_device(None if is_default else values[0])  # type: ignore[arg-type]
    elif name == "deterministic algorithms":
        torch.use_deterministic_algorithms(bool(values[0]), warn_only=bool(values[1]))
    elif name == "cuDNN flags":
        cudnn = torch.backends.cudnn
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = map(bool, values)
    elif name == "precision of matrix products":
        torch.set_float32_matmul_precision(*values)  # type: ignore[arg-type]
    elif name == "threads":
        torch.set_num_threads(*values)  # type: ignore[arg-type]
    elif name == "anomaly detection":
        torch.autograd.set_detect_anomaly(*map(bool, values))
