"""A folder whose files are written atomically and verified by checksum when read.

The SHA-256 of every file is the name of an empty file in `checksums/`, made before the file itself. So a file and its
checksum never disagree, even if processes are killed at any moment and several write the same file: an existing file
is complete, and its checksum exists too.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path

from .._utils.files import write_atomically, write_errors
from ..errors import StoreError

CHECKSUMS = "checksums"
"""The folder of checksums."""


class CheckedFolder:
    """Reads and writes files of one folder.

    Args:
        root: The folder; created at the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def inside(self, *names: str) -> Path:
        """A path below the folder; links are resolved and checked.

        Args:
            *names: Parts of the path.

        Returns:
            The path.

        Raises:
            StoreError: If it is outside the folder.
        """
        path = self.root.joinpath(*names)
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise StoreError(f"{path} leads out of {self.root}; such a folder is not read")
        return path

    def write(self, path: Path, content: bytes | Iterable[bytes]) -> None:
        """Write a file of the folder, its checksum first; pieces are iterated twice.

        Raises:
            StoreError: If that fails; an older file is unchanged.
        """
        checksum = self.inside(CHECKSUMS, _sha256(content))
        with write_errors(checksum):
            checksum.parent.mkdir(parents=True, exist_ok=True)
            checksum.touch()
        write_atomically(path, content)

    def read(self, path: Path) -> bytes:
        """The content of a file of the folder.

        Returns:
            The bytes.

        Raises:
            StoreError: If it is missing or damaged.
        """
        content = self.read_unchecked(path)
        self.verify(path, content)
        return content

    def read_unchecked(self, path: Path) -> bytes:
        """The content of a file, which may be damaged; the caller must `verify` it.

        Returns:
            The bytes.

        Raises:
            StoreError: If it is missing.
        """
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from None

    def verify(self, path: Path, content: bytes) -> None:
        """Compare the content of a file with the checksums.

        Raises:
            StoreError: If it is damaged.
        """
        if not (self.root / CHECKSUMS / _sha256(content)).exists():
            raise StoreError(
                f"cannot read {path}: it is damaged, or was not written by art_flat (no such SHA-256 in {CHECKSUMS}/)"
            )

    def quarantine(self, path: Path) -> Path | None:
        """Move an unusable file into `damaged`, under an unused name; nothing is deleted.

        Returns:
            Its new path; None if the file no longer existed.
        """
        target = self.root / "damaged" / f"{path.parent.name}-{path.name}-{uuid.uuid4().hex[:8]}"
        target.parent.mkdir(exist_ok=True)
        try:
            path.rename(target)
        except FileNotFoundError:  # another process was faster
            return None
        return target


def _sha256(content: bytes | Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in [content] if isinstance(content, bytes) else content:
        digest.update(piece)
    return digest.hexdigest()
