"""Leases of GPUs for worker processes; each is released when its worker ends."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import torch

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_held: dict[str, int] = {}
"""The lock files of this process: kept open, so that the system releases them when the process ends."""


def lease_device(folder: Path | None = None) -> str:
    """The device of this process: the GPU with the fewest processes of art_flat on this machine.

    Args:
        folder: Folder of the lock files; a folder per user in the system's temporary folder if None.

    Returns:
        Such as `"cuda:1"`; the same at every call.

    >>> import torch
    >>> lease_device() if not torch.cuda.is_available() else "cpu"
    'cpu'
    """
    n = torch.cuda.device_count()
    if n == 0:
        return "cpu"
    if folder is None:
        folder = Path(tempfile.gettempdir()) / f"art_flat-gpus-{os.getuid() if hasattr(os, 'getuid') else 0}"
    key = str(folder)
    if key not in _held:
        _held[key] = first_free_gpu(folder, n)
    return f"cuda:{_held[key]}"


def first_free_gpu(folder: Path, n: int) -> int:
    """Lock a slot of the GPU with the fewest processes, until this process ends.

    Args:
        folder: Folder of the lock files.
        n: Number of GPUs.

    Returns:
        Index of the GPU, 0…n−1.
    """
    if fcntl is None:
        return os.getpid() % n
    folder.mkdir(mode=0o700, exist_ok=True)
    slot = 0
    while True:  # ends, since there are more slots than processes
        device = slot % n
        handle = os.open(
            folder / f"gpu-{device}-{slot // n}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return device
        os.close(handle)
        slot += 1
