"""`art-flat plan` and `check`: a configuration, loaded, with its estimated cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .._utils.formatting import counted, duration

if TYPE_CHECKING:
    from ..adapters import Adapter
    from ..datasets import Dataset
    from ..evaluation import Plan
    from .config import RunConfig

PROBE_SECONDS = 0.05
"""Duration of each measurement of `art-flat check`."""


class Setup(NamedTuple):
    """A configuration with its data and models loaded."""

    config: RunConfig
    folder: Path
    data: Dataset
    models: dict[str, Adapter]
    options: dict[str, Any]
    """The further arguments of `evaluate` and `plan`."""
    start_seconds: float
    """Time to start a worker: from the start of the command until everything was loaded."""


def load_setup(
    path: Path,
    overrides: Sequence[str] | None,
    notify: Callable[[str], None],
    *,
    started: float,
    trust: bool,
    **changes: Any,
) -> Setup:
    """Read a configuration, and load its data and models.

    Args:
        path: The file.
        overrides: Keys that replace those of the file, as `read_config` takes them.
        notify: Called with a message before each step.
        started: `time.perf_counter()` at the start of the command.
        trust: Read weights from pickles that can run any code.
        **changes: Keys that override the file's, unless they are None.

    Returns:
        The loaded configuration.

    Raises:
        ConfigError: If it is invalid, or data or a model cannot be loaded.
    """
    from .config import read_config
    from .run import prepare

    config, folder = read_config(path, overrides or (), **changes)
    data, models, options = prepare(config, folder, notify, trust=trust)
    return Setup(config, folder, data, models, options, time.perf_counter() - started)


def plan_setup(setup: Setup, probe_seconds: float) -> Plan:
    """The plan of a loaded configuration.

    Args:
        setup: The configuration.
        probe_seconds: Duration of each measurement.

    Returns:
        The plan, without analyses.

    Raises:
        InputError: If the configuration is invalid.
    """
    from ..evaluation import plan

    return plan(
        setup.models, setup.data.x, setup.data.y, **setup.options, probe_seconds=probe_seconds,
        start_seconds=setup.start_seconds,
    )  # fmt: skip


def analysis_lines(setup: Setup) -> list[str]:
    """Expected duration of each analysis, on one worker; empty without analyses."""
    from ..attacks import load_attacks
    from ..evaluation.radii import check_deltas
    from .analyses_plan import plan_analyses
    from .run import analyses_of

    config = setup.config.analyses
    if config is None:
        return []
    deltas = check_deltas(setup.options["deltas"], load_attacks(setup.options["attacks"]))
    x, y = setup.data.x[: config.n], setup.data.y[: config.n]
    costs = plan_analyses(analyses_of(config, setup.folder), setup.models, deltas, x, y)
    total = duration(sum(seconds for _, seconds in costs))
    lines = [f"  {title}: {duration(seconds)}" for title, seconds in costs]
    return [f"then analyses of {counted(len(x), 'sample')}: {total}", *lines] if costs else []
