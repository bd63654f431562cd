"""Context managers that patch missing or unseeded dependencies of ART while it runs."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import multiprocessing
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def no_context(seed: int) -> Iterator[None]:
    """A context without any patch.

    Args:
        seed: Seed of the run.

    Yields:
        None
    """
    yield


@contextlib.contextmanager
def seeded_states(seed: int) -> Iterator[None]:
    """Seed every `numpy.random.RandomState()` created inside from `seed`, where ART leaves it unseeded.

    Args:
        seed: Seed of the run.

    Yields:
        None
    """
    real: Any = np.random.RandomState
    seeds = np.random.SeedSequence(seed % 2**32)

    class Seeded(real):  # type: ignore[misc]
        def __init__(self, given: Any = None) -> None:
            super().__init__(int(seeds.spawn(1)[0].generate_state(1)[0]) if given is None else given)

    with patched_attribute(np.random, "RandomState", Seeded):
        yield


@contextlib.contextmanager
def quiet_seeded_states(seed: int) -> Iterator[None]:
    """`seeded_states`, without the progress bar of BrendelBethgeAttack, which has no option for it.

    Args:
        seed: Seed of the run.

    Yields:
        None
    """
    tqdm = importlib.import_module("tqdm.auto")
    with seeded_states(seed), patched_attribute(tqdm, "trange", lambda *bounds, **_: range(*bounds)):
        yield


@contextlib.contextmanager
def old_numpy(seed: int) -> Iterator[None]:
    """Provide `numpy.asfarray`, which NumPy 2 removed and LaserAttack calls.

    Args:
        seed: Seed of the run.

    Yields:
        None
    """
    with patched_attribute(np, "asfarray", lambda values: np.asarray(values, dtype=np.float64)):
        yield


@contextlib.contextmanager
def standard_multiprocessing(seed: int) -> Iterator[None]:
    """Provide the standard library's `multiprocessing` as `multiprocess` if that package is missing.

    ART's AutoAttack imports it even if it is not used.

    Args:
        seed: Seed of the run.

    Yields:
        None
    """
    missing = not installed("multiprocess")
    if missing:
        sys.modules["multiprocess"] = multiprocessing
    try:
        yield
    finally:
        if missing:
            del sys.modules["multiprocess"]


def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return package in sys.modules or importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def patched_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of a module inside the block; restored afterwards."""
    existed, before = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if existed:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
