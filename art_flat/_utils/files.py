"""Atomic writing of files."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import StoreError
from .replace import replace_file

_FULL = (errno.ENOSPC, errno.EDQUOT)
PART_SUFFIX = ".part"
"""Suffix of files that are being written; remaining ones are from killed processes."""


def write_atomically(path: Path, content: bytes | str | Iterable[bytes]) -> None:
    """Write a file so that it appears with all of its content or not at all, also after a crash.

    Args:
        path: The file; its folder is created if necessary.
        content: Its content, or pieces of it; text is encoded in UTF-8, line ends unchanged.

    Raises:
        StoreError: If it cannot be written; an existing file is unchanged.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PART_SUFFIX}")
    with write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                content = content.encode() if isinstance(content, str) else content
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                os.fsync(file.fileno())
            replace_file(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into a `StoreError` that names the file and what to do."""
    try:
        yield
    except OSError as error:
        advice = "finished work is kept; run the same command again to continue"
        if error.errno in _FULL:
            advice = "make room; " + advice
        raise StoreError(f"cannot write {path}: {error.strerror or error}; {advice}") from error
