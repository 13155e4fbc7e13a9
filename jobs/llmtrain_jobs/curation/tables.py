"""Tables of documents as Parquet bytes, and back."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from llmtrain.storage.store import Store


def encoded(columns: Mapping[str, Any]) -> bytes:
    """Columns (lists or arrays of equal length) as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), sink, compression="zstd", compression_level=1)
    return sink.getvalue()


def read_table(store: Store, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A table, or some of its columns."""
    # `pq.read_table` goes by way of a data set of many files, which takes three times as long for a small one.
    with store.open(name) as file, pq.ParquetFile(file) as table:
        return table.read(columns=list(columns) if columns else None, use_threads=False)


def floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column of numbers."""
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)


def integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    """A column of integers."""
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.int64)


def strings(table: pa.Table, name: str) -> list[str]:
    """A column of texts."""
    found: list[str] = table.column(name).to_pylist()
    return found
