"""One reader a format: from an open file to its records, in order."""

from collections.abc import Callable, Iterator
from typing import IO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from llmtrain.api.curation import Source, SourceFormat
from llmtrain_jobs.curation.reading.html import main_text
from llmtrain_jobs.curation.reading.lines import json_records
from llmtrain_jobs.curation.reading.opened import Opened, Part
from llmtrain_jobs.curation.reading.parquet import parquet
from llmtrain_jobs.curation.reading.record import Fields, Origin, Record, too_long
from llmtrain_jobs.curation.reading.streams import DAMAGE, SourceFile, compression_of, plain
from llmtrain_jobs.curation.reading.text import text, whole
from llmtrain_jobs.errors import bad_input

HTML_TYPES = ("text/html", "application/xhtml+xml")
ENDINGS = {
    "jsonl": SourceFormat.JSONL, "ndjson": SourceFormat.JSONL, "json": SourceFormat.JSONL,
    "parquet": SourceFormat.PARQUET, "warc": SourceFormat.WARC, "wet": SourceFormat.WET,
    "html": SourceFormat.HTML, "htm": SourceFormat.HTML,
    **dict.fromkeys(("txt", "text", "md", "markdown", "rst", "adoc", "org", "tex"), SourceFormat.TEXT),
}  # fmt: skip


def format_of(source: Source, file: str) -> SourceFormat:
    """By the manifest, else by the file's ending, compression aside; a name without an ending is a text.

    BadInput for any other name: a table, an archive or an editor's swap file must not be taken for one text.
    """
    if source.format is not SourceFormat.AUTO:
        return source.format
    name = compression_of(file)[0]
    stem, dot, ending = name.rpartition(".")
    kind = ENDINGS.get(ending) if dot else SourceFormat.TEXT
    if kind is None or (not stem and dot):
        known = ", ".join(f".{known}" for known in ENDINGS)
        raise bad_input(
            f"`{file}` of source `{source.name}`: its name does not tell a format ({known}, each also .gz, .zst, .bz2, "
            f".xz); set `format`, or let `path` leave it out",
            "UnknownFormat",
        )
    return kind


def records(raw: IO[bytes], source: Source, part: Part, longest: int) -> Iterator[Record]:
    """Records of one part; damage ends it with a record that says so. Storage's errors are raised as they are."""
    file = SourceFile(raw)
    opened = Opened(
        file, part, Fields(source.text_field, source.id_field, source.url_field, source.date_field), longest
    )
    last, error = None, None
    try:
        for record in READERS[format_of(source, part.file)](opened):
            if last is not None:
                yield last
            last = record
    except DAMAGE as found:
        error = found
    file.raise_failure()
    cut = error is None and file.damage is not None and last is not None and bool(last.problem)
    if last is not None and not cut:
        yield last
    if why := file.damage or error:
        yield _damage(why, last, cut)


def _damage(why: Exception, last: Record | None, cut: bool) -> Record:
    """What ends a file. `cut`: the bytes of the record that was read last are its own."""
    problem = " ".join(f"damaged file: {type(why).__name__} {why}".split())[:300]
    number = last.number if last else 0
    return Record(number + (not cut), last.size if last and cut else 0, problem=problem, fatal=True)


def html(opened: Opened) -> Iterator[Record]:
    """The whole file is one page."""
    size, data = whole(opened)
    if data is None:
        yield too_long(1, size, opened.longest)
    elif data.strip():
        yield _page(1, size, data, Origin(opened.part.file))


def _page(number: int, size: int, data: bytes, origin: Origin) -> Record:
    extracted = main_text(data)
    if not extracted.strip():
        return Record(number, size, problem="no main text in the page", origin=origin, readable=True)
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
    SourceFormat.JSONL: json_records, SourceFormat.PARQUET: parquet, SourceFormat.TEXT: text, SourceFormat.HTML: html,
    SourceFormat.WARC: warc, SourceFormat.WET: wet,
}  # fmt: skip
