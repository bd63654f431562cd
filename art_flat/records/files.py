"""Tables and arrays as bytes of Parquet and safetensors files, with metadata on their content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from ..errors import StoreError

_FACTS = "art_flat"


def parquet(table: pa.Table, facts: Mapping[str, Any]) -> bytes:
    """A Parquet file with metadata in its footer.

    Args:
        table: The table.
        facts: Metadata, as JSON values.

    Returns:
        The file.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_FACTS: json.dumps(facts, sort_keys=True)})
    return bytes(sink.getvalue().to_pybytes())


def parse_parquet(content: bytes, path: Path, expected: Mapping[str, Any]) -> pa.Table:
    """The table in a file written by `parquet`.

    Args:
        content: The file's bytes.
        path: Its path, for messages.
        expected: Metadata that it must have.

    Returns:
        The table.

    Raises:
        StoreError: If the file is invalid, or its metadata differ.
    """
    try:
        table = pq.read_table(pa.BufferReader(content))
        facts = json.loads(pq.read_metadata(pa.BufferReader(content)).metadata[_FACTS.encode()])
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise StoreError(f"cannot read {path}: {error}") from None
    _compare(path, facts, expected)
    return table


def tensors(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    """A safetensors file with metadata in its header.

    Args:
        arrays: Name → array.
        facts: Metadata, as JSON values.

    Returns:
        The file.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content: bytes = safetensors.numpy.save(arrays, {_FACTS: json.dumps(facts, sort_keys=True)})
    return content


def parse_tensors(content: bytes, path: Path, expected: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays in a file written by `tensors`.

    Args:
        content: The file's bytes.
        path: Its path, for messages.
        expected: Metadata that it must have.

    Returns:
        Name → array.

    Raises:
        StoreError: If the file is invalid, or its metadata differ.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_FACTS])
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
            raise StoreError(f"{path} has a different {name}: {facts.get(name)!r} instead of {value!r}")
