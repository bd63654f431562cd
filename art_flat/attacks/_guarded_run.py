"""Runs an attack, restores the model, the random generators and the terminal, and measures its cost."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .._utils.arrays import synchronize
from .._utils.global_state import global_state_kept
from .._utils.random import rng_was_used, seeded_rng
from .._utils.timeouts import interruptible
from .problem import Problem


@dataclass(frozen=True)
class GuardedRun:
    """The raw result and side effects of an attack.

    Attributes:
        points: Its return value, not validated.
        forwards: Samples passed forward; NaN where they cannot be counted.
        backwards: Samples passed backward; NaN where they cannot be counted.
        seconds: Wall-clock time.
        messages: Its warnings and the lines that it printed.
        changed: Parts of the model that it changed, and that were restored, such as `"weights"`.
        changed_settings: Global settings of torch and NumPy that it changed, and that were restored.
        used_global_rng: Whether it drew from the global random generators.
    """

    points: Any
    forwards: float
    backwards: float
    seconds: float
    messages: Sequence[str]
    changed: Sequence[str]
    changed_settings: Sequence[str]
    used_global_rng: bool


def run_guarded(run: Callable[[Problem], Any], problem: Problem) -> GuardedRun:
    """Run an attack; afterwards the model, the random generators and the terminal are unchanged.

    Args:
        run: The attack's `run`.
        problem: Its input.

    Returns:
        Its result and side effects.
    """
    net = problem.net
    own = replace(
        problem,
        x=problem.x.clone(),
        y=problem.y.clone(),
        target=None if problem.target is None else problem.target.clone(),
        start=None if problem.start is None else problem.start.clone(),
    )  # an attack may write into its input, by which its points are measured
    with (
        net.guard() as changed,
        global_state_kept() as changed_settings,
        seeded_rng(problem.seed, net.device),
        net.counting() as passes,
        _captured_messages() as messages,
    ):
        synchronize(net.device)
        started = time.perf_counter()
        with interruptible():
            points = run(own)
        synchronize(net.device)
        seconds = time.perf_counter() - started
        used_rng = rng_was_used(problem.seed)
    return GuardedRun(
        points, passes.forwards, passes.backwards, seconds, messages, changed, changed_settings, used_rng
    )


@contextlib.contextmanager
def _captured_messages() -> Iterator[list[str]]:
    """Capture warnings and prints of a library; the list gets their texts."""
    messages: list[str] = []
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(record=True) as caught, torch.enable_grad():
        warnings.simplefilter("always")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                yield messages
            finally:
                texts = [f"{w.category.__name__}: {w.message}" for w in caught]
                texts += [line for stream in (out, err) for line in stream.getvalue().splitlines()]
                messages += dict.fromkeys(t.strip() for t in texts if t.strip())
