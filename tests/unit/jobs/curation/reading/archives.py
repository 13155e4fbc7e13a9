"""Web archives as crawlers write them, well and badly."""

import gzip
import io
from collections.abc import Iterable, Sequence

from llmtrain_jobs.curation.reading.formats import records
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.record import Record
from llmtrain_jobs.curation.reading.web.archive import Archive, Entry

from llmtrain.api.curation import Source

SENTENCE = "This is a long paragraph about a river, its water and the people who live beside it. "
PAGE = f"<html><body><article><p>{SENTENCE * 8}</p></article></body></html>".encode()
HTML = "Content-Type: text/html"
MOST = 1 << 20


def http(
    headers: Iterable[str] = (HTML,), body: bytes = PAGE, status: str = "HTTP/1.1 200 OK", end: str = "\r\n"
) -> bytes:
    """An answer."""
    return (end.join([status, *headers]) + end + end).encode("latin-1") + body


def warc(
    block: bytes,
    kind: str = "response",
    *,
    version: str = "1.0",
    length: object = None,
    end: str = "\r\n",
    **headers: str,
) -> bytes:
    """A record. `length`: what its header says; `headers`: with underscores for hyphens, empty to leave one out."""
    said = {
        "WARC-Type": kind, "WARC-Record-ID": "<urn:uuid:00000000-0000-0000-0000-000000000001>",
        "WARC-Target-URI": "http://a.example/page", "WARC-Date": "2024-05-06T07:08:09Z",
        "Content-Type": "application/http; msgtype=response", "Content-Length": str(len(block) if length is None else length),
    } | {name.replace("_", "-"): value for name, value in headers.items()}  # fmt: skip
    lines = [f"WARC/{version}", *(f"{name}: {value}" for name, value in said.items() if value)]
    return (end.join(lines) + end + end).encode() + block + b"\r\n\r\n"


GOOD = warc(http())


def members(parts: Sequence[bytes]) -> bytes:
    """One gzip member a record, as the standard has it."""
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def entries(data: bytes, most: int = MOST) -> list[Entry]:
    """Records of an archive."""
    return list(Archive(io.BytesIO(data), most))


def read(data: bytes, name: str = "a.warc", longest: int = MOST, **source: object) -> list[Record]:
    """Documents of a file by the readers of curation."""
    given = Source.model_validate({"name": "web", "path": name, **source})
    return list(records(io.BytesIO(data), given, Part(0, 0, name), longest))


def pages(found: Iterable[Record]) -> list[str]:
    """For each document, `page`, `textless`, `bad` or `damaged`."""
    shown = []
    for record in found:
        if record.problem:
            shown.append("damaged" if record.fatal else "bad")
        elif not record.skipped:
            shown.append("page" if SENTENCE.strip() in record.text else "textless" if record.textless else "other")
    return shown
