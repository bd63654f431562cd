"""Files of a results folder: written atomically, typed, and verified by a checksum when read."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from ..errors import StoreError

_FACTS = "art_flat"
_SEAL = "art_flat.seal"
_MARK = b"art_flat-sha256:"
_BLANK = _MARK + b"0" * 64


def quarantine(path: Path, folder: Path) -> Path | None:
    """Move a file that cannot be used into `folder/damaged`, under a name that is free; nothing is deleted.

    Args:
        path: The file.
        folder: The results folder.

    Returns:
        Where it lies now; None if it was gone already.
    """
    target = folder / "damaged" / f"{path.parent.name}-{path.name}-{uuid.uuid4().hex[:8]}"
    target.parent.mkdir(exist_ok=True)
    try:
        path.rename(target)
    except FileNotFoundError:  # another process was faster
        return None
    return target


def inside(folder: Path, *names: str) -> Path:
    """A path below a folder, checked to stay there, also through links.

    Args:
        folder: The folder.
        *names: Parts of the path.

    Returns:
        The path.

    Raises:
        StoreError: If it leads out of the folder.
    """
    path = folder.joinpath(*names)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"{path} leads out of {folder}; such a folder is not read")
    return path


def parquet(table: pa.Table, facts: Mapping[str, Any]) -> bytes:
    """A Parquet file with a checksum over all of its bytes, and facts, in its footer.

    Args:
        table: The table.
        facts: What the file is, JSON.

    Returns:
        The file.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_FACTS: json.dumps(facts, sort_keys=True), _SEAL: _BLANK.decode()})
    return _sealed(bytes(sink.getvalue().to_pybytes()))


def read_parquet(path: Path, expected: Mapping[str, Any]) -> pa.Table:
    """What `parquet` made; not a byte is parsed before the checksum has been compared.

    Args:
        path: The file.
        expected: Facts that it must state.

    Returns:
        The table.

    Raises:
        StoreError: If the file is missing, damaged or another one.
    """
    content = _unsealed(path)
    try:
        table = pq.read_table(pa.BufferReader(content))
        facts = json.loads(pq.read_metadata(pa.BufferReader(content)).metadata[_FACTS.encode()])
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise StoreError(f"cannot read {path}: {error}") from None
    _compare(path, facts, expected)
    return table


def tensors(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    """A safetensors file with a checksum over all of its bytes, and facts, in its header.

    Args:
        arrays: Name → array.
        facts: What the file is, JSON.

    Returns:
        The file.
    """
    # one entry, since safetensors writes several in any order
    metadata = {_FACTS: json.dumps({"facts": facts, "seal": _BLANK.decode()}, sort_keys=True)}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return _sealed(safetensors.numpy.save(arrays, metadata))


def read_tensors(path: Path, expected: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What `tensors` made.

    Args:
        path: The file.
        expected: Facts that it must state.

    Returns:
        Name → array.

    Raises:
        StoreError: If the file is missing, damaged or another one.
    """
    content = _unsealed(path)
    try:
        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_FACTS])["facts"]
        arrays: dict[str, np.ndarray] = safetensors.numpy.load(content)
    except (KeyError, ValueError, TypeError, RecursionError, safetensors.SafetensorError) as error:
        raise StoreError(f"cannot read {path}: {error}") from None
    _compare(path, facts, expected)
    return arrays


def _compare(path: Path, facts: Any, expected: Mapping[str, Any]) -> None:
    if not isinstance(facts, Mapping):
        raise StoreError(f"{path} does not state its kind")
    for name, value in expected.items():
        if facts.get(name) != value:
            raise StoreError(f"{path} is of another {name}: {facts.get(name)!r} instead of {value!r}")


def _sealed(content: bytes) -> bytes:
    at = content.rfind(_BLANK)
    digest = hashlib.sha256(content).hexdigest().encode()
    return content[: at + len(_MARK)] + digest + content[at + len(_BLANK) :]


def _unsealed(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from None
    at = content.rfind(_MARK)
    digest = content[at + len(_MARK) : at + len(_BLANK)]
    blank = content[:at] + _BLANK + content[at + len(_BLANK) :]
    if at < 0 or hashlib.sha256(blank).hexdigest().encode() != digest:
        raise StoreError(f"cannot read {path}: it is damaged, or was not written by art_flat")
    return content
