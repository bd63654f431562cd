"""Tables and arrays as bytes of Parquet and safetensors files, with metadata on their content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from .._utils.streaming import InputRows
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


class TensorPieces:
    """A safetensors file as `tensors` writes it, in pieces of a few megabytes; iterates from the start every time.

    Args:
        x: Samples, shape (n, ...); read piece by piece.
        samples: Their ids, shape (n,).
        facts: Metadata, as JSON values.
    """

    def __init__(self, x: InputRows, samples: np.ndarray, facts: Mapping[str, Any]) -> None:
        self._x, self._samples = x, np.ascontiguousarray(samples)
        empty = {name: np.empty((0,), array.dtype) for name, array in (("x", x), ("sample", self._samples))}
        content = tensors(empty, facts)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        begin = self._samples.nbytes  # the wider type first, so that both are aligned
        header["sample"] |= {"shape": list(self._samples.shape), "data_offsets": [0, begin]}
        header["x"] |= {"shape": list(x.shape), "data_offsets": [begin, begin + x.nbytes]}
        text = json.dumps(header).encode()
        self._header = text.ljust(-(-len(text) // 8) * 8)

    def __iter__(self) -> Iterator[bytes]:
        yield len(self._header).to_bytes(8, "little") + self._header
        yield self._samples.tobytes()
        for piece in self._x.pieces(slice(0, len(self._x))):
            yield piece.tobytes()


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
