"""How the tests are run: folders in a process per core, files that are named in this one."""

import os
from pathlib import Path

import joblib
import pytest

MOST_PROCESSES = 4
"""Each takes 1 GB and seconds to import PyTorch and ART, more than further processes would save."""

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the nets are tiny: threads would only wait for each other


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes for `-n auto`; 0 keeps everything in the first one."""
    folders = all(Path(argument).is_dir() for argument in config.args)
    return min(joblib.cpu_count(), MOST_PROCESSES) if folders else 0
