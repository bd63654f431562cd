"""What ART needs around it while it runs; everything is put back afterwards."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def nothing(seed: int) -> Iterator[None]:
    """No help needed.

    Args:
        seed: Seed of the run.

    Yields:
        None
    """
    yield


@contextlib.contextmanager
def seeded_states(seed: int) -> Iterator[None]:
    """Every `numpy.random.RandomState()` made inside follows from `seed`, where ART would ask the system.

    Args:
        seed: Seed of the run.

    Yields:
        None
    """
    real = np.random.RandomState  # noqa: NPY002  (it is what ART uses)
    seeds = np.random.SeedSequence(seed)

    class Seeded(real):  # type: ignore[misc, valid-type]
        def __init__(self, given: Any = None) -> None:
            super().__init__(int(seeds.spawn(1)[0].generate_state(1)[0]) if given is None else given)

    np.random.RandomState = Seeded  # type: ignore[misc]
    try:
        yield
    finally:
        np.random.RandomState = real  # type: ignore[misc]


@contextlib.contextmanager
def standard_multiprocessing(seed: int) -> Iterator[None]:
    """The standard library's `multiprocessing` under the name `multiprocess`, where that package is missing.

    ART's AutoAttack imports it whether it uses it or not.

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
