"""Atomic writing of files."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

from ..errors import StoreError
from .replace import replace_file

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it appears with all of its content or not at all, also after a crash.

    Args:
        path: The file; its folder is made if need be.
        content: What it is to hold.

    Raises:
        StoreError: If it cannot be written; an existing file is unchanged.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_file(part, path)
    except OSError as error:
        advice = "what was finished is kept; run the same command again to go on"
        if error.errno in _FULL:
            advice = "make room; " + advice
        raise StoreError(f"cannot write {path}: {error.strerror or error}; {advice}") from error
    finally:
        part.unlink(missing_ok=True)
