"""JSON: one record a line, or one a value where a file holds arrays or objects that go over several lines."""

import json
from collections.abc import Iterator

from llmtrain_jobs.curation.reading.opened import Opened
from llmtrain_jobs.curation.reading.record import Record, record_of, too_long
from llmtrain_jobs.curation.reading.streams import Lines, plain, rest_of_line
from llmtrain_jobs.curation.reading.values import Values, is_values

HEAD = 1 << 16
"""Bytes by which it is told what a file holds."""


def json_records(opened: Opened) -> Iterator[Record]:
    """A part that does not start the file is of lines; it starts after the line that it starts in."""
    stream, part = plain(opened.raw, opened.part.file), opened.part
    position = part.start
    if part.start:
        stream.seek(part.start - 1)
        position += rest_of_line(stream) - 1
    elif is_values(stream.peek(HEAD)[:HEAD]):
        yield from _values(Values(stream, opened.longest), opened)
        return
    following = Lines(stream, opened.longest)
    while (part.end < 0 or position < part.end) and (line := following.next()) is not None:
        position += line[1]
        yield _record(line, opened)


def _values(following: Values, opened: Opened) -> Iterator[Record]:
    """What stands between the values is blank, as empty lines are."""
    number = 0
    while (value := following.next()) is not None:
        number = value[0]
        yield from _blank(number, following)
        yield _record(value, opened)
    yield from _blank(number, following)
    if following.within:
        raise EOFError("the JSON array is not closed")


def _blank(number: int, following: Values) -> Iterator[Record]:
    if size := following.take_between():
        yield Record(number, size)


def _record(found: tuple[int, int, bytes | None], opened: Opened) -> Record:
    number, size, content = found
    if content is None:
        return too_long(number, size, opened.longest)
    if not content.strip():
        return Record(number, size)
    try:
        row = json.loads(content)
    except UnicodeDecodeError as error:
        return Record(number, size, problem=f"no UTF-8: {error.reason} at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Record(number, size, problem=f"no JSON: {error}"[:300])
    return record_of(number, size, row, opened.fields, opened.longest)
