"""Seeded random number generators that leave the caller's random state unchanged."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from .numbers import check_seed


@contextmanager
def seeded_rng(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """The generators of Python, NumPy and torch seeded inside the block and restored after it.

    Attack libraries draw from the global generators, and some reseed them; the state outside is unaffected, also after
    an exception.

    Args:
        seed: A whole number in [0, 2⁶³); the same seed gives the same numbers.
        device: Second device, beside the CPU, whose generator is seeded.

    Yields:
        Nothing.

    Raises:
        InputError: If the seed is invalid.

    >>> with seeded_rng(0):
    ...     a = torch.rand(1)
    >>> with seeded_rng(0):
    ...     b = torch.rand(1)
    >>> bool(a == b)
    True
    """
    device, seed = torch.device(device), check_seed(seed)
    accelerated = device.type not in {"cpu", "meta"}
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(
        [device] if accelerated else [], device_type=device.type if accelerated else "cuda"
    ):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002  (the libraries draw from the legacy generator)
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed devices not restored
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            elif accelerated:
                torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def rng_was_used(seed: int) -> bool:
    """Whether something has drawn from the generators of Python, NumPy or torch since `seeded_rng(seed)` seeded them.

    Args:
        seed: The seed passed to `seeded_rng`; call this inside its block.

    Returns:
        True if the state of one of them has changed. Python's generator is compared in the main thread only:
        elsewhere, as in a Dask worker, other threads draw from it too.

    >>> with seeded_rng(3):
    ...     before = rng_was_used(3)
    ...     noise = torch.rand(1)
    ...     before, rng_was_used(3)
    (False, True)
    """
    kind, words, *rest = np.random.get_state()  # noqa: NPY002
    fresh_kind, fresh_words, *fresh_rest = np.random.RandomState(seed % 2**32).get_state()
    return not (
        torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(seed).get_state())
        and (kind, rest) == (fresh_kind, fresh_rest)
        and np.array_equal(words, fresh_words)
        and (
            threading.current_thread() is not threading.main_thread()
            or random.getstate() == random.Random(seed).getstate()
        )
    )


def derive_seed(*parts: object) -> int:
    """A seed that depends only on the text of every part.

    Returns:
        A whole number in [0, 2³¹).

    >>> derive_seed("a", 1) == derive_seed("a", 1), derive_seed("a", 1) == derive_seed("a", 2)
    (True, False)
    """
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
