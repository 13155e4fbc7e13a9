"""Documents from files: JSON lines or plain text, gzip by ending. A bad record is reported, not dropped silently."""

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from llmtrain.api.curation import Source, SourceFormat
from llmtrain.storage.store import Store
from llmtrain_jobs.errors import bad_input


@dataclass(frozen=True)
class Record:
    """One document, or what is wrong with it. `size`: bytes of the record in the uncompressed file."""

    line: int
    size: int
    text: str = ""
    problem: str = ""


def source_files(store: Store, source: Source, field: str) -> list[str]:
    """Files of a source, sorted; none is an error that names the field."""
    files = store.glob(source.path)
    if not files:
        raise bad_input(f"`{field}.path`: no file matches `{source.path}`", "SourceNotFound")
    return files


def read_records(store: Store, source: Source, file: str) -> Iterator[Record]:
    """Records of one file in order."""
    with store.open(file) as raw:
        stream = _plain(raw, file)
        if _format(source, file) is SourceFormat.TEXT:
            yield _text_record(stream.read())
            return
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield _json_record(number, line, source.text_field)


def _plain(raw: IO[bytes], file: str) -> IO[bytes]:
    return io.BufferedReader(gzip.GzipFile(fileobj=raw)) if file.endswith(".gz") else raw


def _format(source: Source, file: str) -> SourceFormat:
    if source.format is not SourceFormat.AUTO:
        return source.format
    return SourceFormat.JSONL if ".json" in file.rsplit("/", 1)[-1] else SourceFormat.TEXT


def _text_record(data: bytes) -> Record:
    try:
        return Record(1, len(data), data.decode())
    except UnicodeDecodeError as error:
        return Record(1, len(data), problem=f"no UTF-8: {error}")


def _json_record(number: int, line: bytes, field: str) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        return Record(number, len(line), problem=f"no JSON: {error}")
    text = record.get(field) if isinstance(record, dict) else None
    if not isinstance(text, str):
        return Record(number, len(line), problem=f"no text in field `{field}`")
    return Record(number, len(line), text)
