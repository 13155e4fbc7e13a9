"""Rows of Parquet files. A value that cannot be told costs its row, or no more than itself where it is no text."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from llmtrain_jobs.curation.reading.opened import Opened
from llmtrain_jobs.curation.reading.record import Damaged, Record, record_of
from llmtrain_jobs.curation.reading.streams import DAMAGE, SourceFile

ROWS = 64
UNTOLD = (ValueError, OverflowError, LookupError, RecursionError, pa.ArrowException)
"""What a value's conversion raises: bytes that are no UTF-8, days beyond the calendar, zones that nobody knows."""


def parquet_file(raw: SourceFile) -> pq.ParquetFile:
    """The file by its footer. Pages that carry a checksum are held against it."""
    try:
        # Spark's 96-bit times would wrap around as nanoseconds: the last day of 9999, which stands for "never", is in 1816 then.
        file = pq.ParquetFile(raw, page_checksum_verification=True, coerce_int96_timestamp_unit="us")
        _ = file.schema_arrow  # names that are no UTF-8 are told here
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(f"the schema is no UTF-8: {error.reason}") from error
    return file


def parquet(opened: Opened) -> Iterator[Record]:
    """One record a row; the size is that of the text."""
    file, part, wanted = parquet_file(opened.raw), opened.part, opened.fields
    names = set(file.schema_arrow.names)
    if wanted.text not in names:
        raise pa.ArrowInvalid(f"no column `{wanted.text}`; there are {', '.join(sorted(names))[:200]}")
    columns = [name for name in dict.fromkeys((wanted.text, wanted.id, wanted.url, wanted.date)) if name in names]
    number = sum(file.metadata.row_group(group).num_rows for group in range(part.start))
    for group in range(part.start, file.num_row_groups if part.end < 0 else part.end):
        for batch in _batches(file, group, columns, opened.raw):
            for row in _rows(batch):
                number += 1
                yield record_of(number, _size(row.get(wanted.text)), row, wanted, opened.longest)


def _batches(file: pq.ParquetFile, group: int, columns: Sequence[str], raw: SourceFile) -> Iterator[pa.RecordBatch]:
    """A row group's rows up to the first that is damaged; the batch of that one is read again row by row."""
    read = 0
    try:
        for batch in _read(file, group, columns, ROWS):
            yield batch
            read += batch.num_rows
    except DAMAGE as error:
        raw.raise_failure()
        rows = 0
        for batch in _read(file, group, columns, 1):
            rows += batch.num_rows
            if rows > read:
                yield batch
        raise error


def _read(file: pq.ParquetFile, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    yield from file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)


def _rows(batch: pa.RecordBatch) -> list[dict[str, object]]:
    columns = [_values(column) for column in batch.columns]
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.Array) -> list[object]:
    """A column's values; where one cannot be told, each by itself."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)  # Python's own have no nanoseconds
    try:
        found: list[object] = column.to_pylist()
    except UNTOLD:
        found = [_value(cell) for cell in column]
    return found


def _value(cell: pa.Scalar) -> object:
    try:
        return cell.as_py()
    except UnicodeDecodeError as error:
        plain = cell.value if isinstance(cell, pa.DictionaryScalar) else cell
        data = plain.as_buffer().to_pybytes() if hasattr(plain, "as_buffer") else b""
        return Damaged(f"no UTF-8: {error.reason} at byte {error.start}", data)
    except UNTOLD as error:
        return _in_utc(cell) or Damaged(f"{type(error).__name__} {error}"[:300])


def _in_utc(cell: pa.Scalar) -> object | None:
    """A time whose zone nobody knows; Parquet stores it in UTC."""
    if not pa.types.is_timestamp(cell.type) or cell.type.tz is None:
        return None
    try:
        found: object = cell.cast(pa.timestamp(cell.type.unit)).as_py()
    except UNTOLD:
        return None
    return found


def _size(text: object) -> int:
    if isinstance(text, Damaged):
        return len(text.data)
    return len(text.encode(errors="replace")) if isinstance(text, str) else 0
