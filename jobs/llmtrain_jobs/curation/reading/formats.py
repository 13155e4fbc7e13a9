"""One reader a format: from an open file to its records, in order."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from llmtrain.api.curation import Source, SourceFormat
from llmtrain_jobs.curation.reading.html import main_text
from llmtrain_jobs.curation.reading.record import Fields, Origin, Record, record_of, too_long
from llmtrain_jobs.curation.reading.streams import DAMAGE, lines, plain

ROWS = 64
HTML_TYPES = ("text/html", "application/xhtml+xml")
ENDINGS = {
    ".jsonl": SourceFormat.JSONL, ".ndjson": SourceFormat.JSONL, ".json": SourceFormat.JSONL,
    ".parquet": SourceFormat.PARQUET, ".warc": SourceFormat.WARC, ".wet": SourceFormat.WET,
    ".html": SourceFormat.HTML, ".htm": SourceFormat.HTML,
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A stretch of a file: bytes of JSON lines, row groups of Parquet; `end` -1: to the end."""

    index: int
    source: int
    file: str
    start: int = 0
    end: int = -1


@dataclass(frozen=True)
class Opened:
    """What a reader needs."""

    raw: IO[bytes]
    part: Part
    fields: Fields
    longest: int


def format_of(source: Source, file: str) -> SourceFormat:
    """By the manifest, else by the file's ending, compression aside; text if nothing is known of it."""
    if source.format is not SourceFormat.AUTO:
        return source.format
    name = file.rsplit("/", 1)[-1].lower()
    for compression in (".gz", ".zst", ".zstd"):
        name = name.removesuffix(compression)
    return next((kind for ending, kind in ENDINGS.items() if name.endswith(ending)), SourceFormat.TEXT)


def records(raw: IO[bytes], source: Source, part: Part, longest: int) -> Iterator[Record]:
    """Records of one part; damage ends it with a record that says so."""
    opened = Opened(raw, part, Fields(source.text_field, source.id_field, source.url_field, source.date_field), longest)
    number = 0
    try:
        for record in READERS[format_of(source, part.file)](opened):
            number = record.number
            yield record
    except DAMAGE as error:
        yield Record(number + 1, 0, problem=f"damaged file: {type(error).__name__} {error}"[:300], fatal=True)


def json_lines(opened: Opened) -> Iterator[Record]:
    """One record a line. A part that does not start the file starts after the line that it starts in."""
    stream, part = plain(opened.raw, opened.part.file), opened.part
    position = part.start
    if part.start:
        stream.seek(part.start - 1)
        position += len(_rest_of_line(stream)) - 1
    following = lines(stream, opened.longest)
    while (part.end < 0 or position < part.end) and (line := following.next()) is not None:
        number, size, content = line
        position += size
        if content is None:
            yield too_long(number, size, opened.longest)
        else:
            yield _json_record(number, content, opened)


def _rest_of_line(stream: IO[bytes]) -> bytes:
    skipped = b""
    while not skipped.endswith(b"\n") and (more := stream.readline(1 << 20)):
        skipped += more
    return skipped


def _json_record(number: int, line: bytes, opened: Opened) -> Record:
    if not line.strip():
        return Record(number, len(line))
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        return Record(number, len(line), problem=f"no UTF-8: {error.reason} at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Record(number, len(line), problem=f"no JSON: {error}"[:300])
    return record_of(number, len(line), row, opened.fields, opened.longest)


def parquet(opened: Opened) -> Iterator[Record]:
    """One record a row; the size is that of the text."""
    file, part, wanted = pq.ParquetFile(opened.raw), opened.part, opened.fields
    names = set(file.schema_arrow.names)
    if wanted.text not in names:
        raise pa.ArrowInvalid(f"no column `{wanted.text}`; there are {', '.join(sorted(names))[:200]}")
    columns = [name for name in dict.fromkeys((wanted.text, wanted.id, wanted.url, wanted.date)) if name in names]
    groups = range(part.start, file.num_row_groups if part.end < 0 else part.end)
    number = sum(file.metadata.row_group(group).num_rows for group in range(part.start))
    for batch in file.iter_batches(ROWS, row_groups=list(groups), columns=columns, use_threads=False):
        for row in _rows(batch):
            number += 1
            text = row.get(wanted.text)
            size = len(text.encode(errors="replace")) if isinstance(text, str) else 0
            yield record_of(number, size, row, wanted, opened.longest)


def _rows(batch: pa.RecordBatch) -> list[dict[str, object]]:
    try:
        found: list[dict[str, object]] = batch.to_pylist()
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(f"a text is no UTF-8: {error.reason}") from error
    return found


def text(opened: Opened) -> Iterator[Record]:
    """The whole file is one document."""
    data = plain(opened.raw, opened.part.file).read(opened.longest + 1)
    if len(data) > opened.longest:
        yield too_long(1, len(data), opened.longest)
        return
    if data.strip():
        try:
            yield Record(1, len(data), data.decode(), origin=Origin(opened.part.file))
        except UnicodeDecodeError as error:
            yield Record(1, len(data), problem=f"no UTF-8: {error.reason} at byte {error.start}")


def html(opened: Opened) -> Iterator[Record]:
    """The whole file is one page."""
    data = plain(opened.raw, opened.part.file).read(opened.longest + 1)
    if len(data) > opened.longest:
        yield too_long(1, len(data), opened.longest)
    elif data.strip():
        yield _page(1, len(data), data, Origin(opened.part.file))


def _page(number: int, size: int, data: bytes, origin: Origin) -> Record:
    extracted = main_text(data)
    if not extracted.strip():
        return Record(number, size, problem="no main text in the page", origin=origin)
    return Record(number, size, extracted, origin=origin)


def warc(opened: Opened) -> Iterator[Record]:
    """Pages among the responses of a web archive, their transfer and content encodings undone."""
    for number, record in enumerate(_archive(opened, WarcRecordType.response), start=1):
        if (record.http_content_type or "").lower() in HTML_TYPES:
            data = _payload(record, opened.longest)
            if len(data) > opened.longest:
                yield too_long(number, len(data), opened.longest)
            else:
                yield _page(number, len(data), data, _origin(record))


def wet(opened: Opened) -> Iterator[Record]:
    """Extracted texts of a web archive."""
    for number, record in enumerate(_archive(opened, WarcRecordType.conversion), start=1):
        data = _payload(record, opened.longest)
        if len(data) > opened.longest:
            yield too_long(number, len(data), opened.longest)
            continue
        try:
            yield Record(number, len(data), data.decode(), origin=_origin(record))
        except UnicodeDecodeError as error:
            yield Record(number, len(data), problem=f"no UTF-8: {error.reason} at byte {error.start}")


def _archive(opened: Opened, kind: WarcRecordType) -> Iterator[WarcRecord]:
    """FastWARC raises a bare OSError for a broken archive; storage's own errors carry a number."""
    stream = plain(opened.raw, opened.part.file)
    try:
        yield from ArchiveIterator(stream, record_types=kind, auto_decode="all", stream_detect=False)
    except OSError as error:
        if error.errno is not None or isinstance(error, DAMAGE):
            raise
        raise EOFError(str(error)) from error


def _payload(record: WarcRecord, longest: int) -> bytes:
    """At most one byte more than `longest`. A payload shorter than its header says is damage."""
    data: bytes = record.reader.read(longest + 1)
    chunked = record.http_headers is not None and "chunked" in (record.http_headers.get("Transfer-Encoding") or "")
    if not chunked and len(data) < min(record.content_length, longest):
        raise EOFError(f"a record of {record.content_length} bytes ends after {len(data)}")
    return data


def _origin(record: WarcRecord) -> Origin:
    headers = record.headers
    url, day = headers.get("WARC-Target-URI") or "", headers.get("WARC-Date") or ""
    return Origin(record.record_id or "", url, day)


READERS: dict[SourceFormat, Callable[[Opened], Iterator[Record]]] = {
    SourceFormat.JSONL: json_lines, SourceFormat.PARQUET: parquet, SourceFormat.TEXT: text, SourceFormat.HTML: html,
    SourceFormat.WARC: warc, SourceFormat.WET: wet,
}  # fmt: skip
