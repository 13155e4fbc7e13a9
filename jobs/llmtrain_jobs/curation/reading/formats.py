"""One reader a format: from an open file to its records, in order."""

from collections.abc import Callable, Iterator
from typing import IO

from llmtrain.api.curation import Source, SourceFormat
from llmtrain_jobs.curation.reading.lines import json_records
from llmtrain_jobs.curation.reading.opened import Opened, Part, Web
from llmtrain_jobs.curation.reading.pagelimits import OF_A_PAGE, PageLimits
from llmtrain_jobs.curation.reading.parquet import parquet
from llmtrain_jobs.curation.reading.record import Fields, Origin, Record
from llmtrain_jobs.curation.reading.streams import DAMAGE, SourceFile, compression_of
from llmtrain_jobs.curation.reading.text import one_document, text
from llmtrain_jobs.curation.reading.web.records import archive_records, page_record
from llmtrain_jobs.errors import bad_input

ENDINGS = {
    "jsonl": SourceFormat.JSONL, "ndjson": SourceFormat.JSONL, "json": SourceFormat.JSONL,
    "parquet": SourceFormat.PARQUET, "warc": SourceFormat.WARC, "arc": SourceFormat.WARC, "wet": SourceFormat.WET,
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


def records(
    raw: IO[bytes], source: Source, part: Part, longest: int, pages: PageLimits = OF_A_PAGE
) -> Iterator[Record]:
    """Records of one part; damage ends it with a record that says so. Storage's errors are raised as they are."""
    file, web = SourceFile(raw), Web(frozenset(source.http_statuses), pages)
    fields = Fields(source.text_field, source.id_field, source.url_field, source.date_field)
    opened = Opened(file, part, fields, longest, web)
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
    elif file.behind:
        yield Record((last.number if last else 0) + 1, file.behind, skipped="behind the compressed bytes")


def _damage(why: Exception, last: Record | None, cut: bool) -> Record:
    """What ends a file. `cut`: the bytes of the record that was read last are its own."""
    problem = " ".join(f"damaged file: {type(why).__name__} {why}".split())[:300]
    number = last.number if last else 0
    return Record(number + (not cut), last.size if last and cut else 0, problem=problem, fatal=True)


def html(opened: Opened) -> Iterator[Record]:
    """The whole file is one page."""
    return one_document(
        opened, lambda size, data: page_record(Record(1, size, origin=Origin(opened.part.file)), data, opened)
    )


READERS: dict[SourceFormat, Callable[[Opened], Iterator[Record]]] = {
    SourceFormat.JSONL: json_records, SourceFormat.PARQUET: parquet, SourceFormat.TEXT: text, SourceFormat.HTML: html,
    SourceFormat.WARC: archive_records, SourceFormat.WET: archive_records,
}  # fmt: skip
