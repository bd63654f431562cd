"""Atomic replacement of a file, also while another process has it open."""

from __future__ import annotations

import os
import time
from pathlib import Path

_WAITS_SECONDS = (0.01, 0.05, 0.2, 0.5, 1.0)
_OPEN_ELSEWHERE = {5, 32}
"""Windows error codes for a file that another process, such as a reader or a virus scanner, has open."""


def replace_file(part: Path, path: Path) -> None:
    """Rename `part` to `path` atomically; on Windows, wait up to two seconds for processes that have `path` open.

    Args:
        part: The finished file, in the folder of `path`.
        path: Its final name; an older file is replaced.

    Raises:
        PermissionError: If it may not be replaced, or stays open elsewhere.
    """
    for seconds in _WAITS_SECONDS:
        try:
            os.replace(part, path)
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _OPEN_ELSEWHERE:
                raise
        time.sleep(seconds)
    os.replace(part, path)
