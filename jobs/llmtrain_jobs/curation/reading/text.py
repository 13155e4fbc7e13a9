"""Files that are one document."""

import codecs
from collections.abc import Callable, Iterator

from llmtrain_jobs.curation.reading.opened import Opened
from llmtrain_jobs.curation.reading.record import Origin, Record, too_long
from llmtrain_jobs.curation.reading.streams import BUFFER, plain


def whole(opened: Opened) -> tuple[int, bytes | None]:
    """Size and content of a file; None for the content over the limit, which is passed over piece by piece."""
    stream = plain(opened.raw, opened.part.file)
    data = stream.read(opened.longest + 1)
    if len(data) <= opened.longest:
        return len(data), data
    size = len(data)
    while more := stream.read(BUFFER):
        size += len(more)
    return size, None


def one_document(opened: Opened, made: Callable[[int, bytes], Record]) -> Iterator[Record]:
    """The whole file is one document, which is made of its size and content; a blank one is nothing but bytes."""
    size, data = whole(opened)
    if data is None:
        yield too_long(1, size, opened.longest)
    elif not data.strip():
        yield Record(1, size)
    else:
        yield made(size, data)


def text(opened: Opened) -> Iterator[Record]:
    """Plain text; of a file that is cut short, what is there of it."""

    def decoded(size: int, data: bytes) -> Record:
        try:
            found = codecs.getincrementaldecoder("utf-8")().decode(data, final=opened.raw.damage is None)
        except UnicodeDecodeError as error:
            return Record(1, size, problem=f"no UTF-8: {error.reason} at byte {error.start}")
        return Record(1, size, found, origin=Origin(opened.part.file))

    return one_document(opened, decoded)
