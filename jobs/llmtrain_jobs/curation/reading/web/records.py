"""Documents of a web archive: pages among its responses, resources and conversions, and extracted texts."""

import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from llmtrain_jobs.curation.reading.opened import Opened
from llmtrain_jobs.curation.reading.pages import PageFailed, pages_of
from llmtrain_jobs.curation.reading.record import Origin, Record, too_long
from llmtrain_jobs.curation.reading.web.archive import Archive, Entry
from llmtrain_jobs.curation.reading.web.codings import TooLong, Undecodable, decoded
from llmtrain_jobs.curation.reading.web.headers import Headers
from llmtrain_jobs.curation.reading.web.response import Response, response_of

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
PLAIN_TYPE = "text/plain"
LOOKS_LIKE_HTML = re.compile(
    rb"[\s\0]*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([^\s"';,]{2,40})""", re.IGNORECASE)
KINDS = frozenset({"warcinfo", "request", "metadata", "revisit", "continuation"})
"""Kinds of records that hold no document."""
ENCODED_OVERHEAD = 1 << 16


def archive_records(opened: Opened) -> Iterator[Record]:
    """Every record of the archive: a document, a bad record, or one that is skipped and why."""
    for entry in Archive(opened.raw, 2 * opened.longest + ENCODED_OVERHEAD):
        yield _record(entry, opened)


def _record(entry: Entry, opened: Opened) -> Record:
    blank = Record(entry.number, entry.size, problem=entry.problem, origin=origin_of(entry.headers), fatal=entry.fatal)
    if entry.problem or entry.kind == "blank":
        return blank
    if entry.kind == "response":
        return _response(entry, blank, opened)
    if entry.kind in ("resource", "conversion"):
        return _content(entry, blank, _as_response(entry), opened)
    return replace(blank, skipped=entry.kind if entry.kind in KINDS else "other record")


def _response(entry: Entry, blank: Record, opened: Opened) -> Record:
    """Of a response, the page if its status is wanted. Some hold a page without HTTP's header, and WARC's tells its type."""
    response = response_of(entry.block)
    if not response.status and not response.headers.pairs and entry.headers.get("content-type"):
        response = _as_response(entry)
    status = f"{response.status // 100}xx"
    if response.status and status not in opened.web.statuses:
        return replace(blank, skipped=f"status {status}")
    return _content(entry, blank, response, opened)


def _as_response(entry: Entry) -> Response:
    """A record that is content alone."""
    kind = entry.headers.get("content-type")
    told = () if kind.startswith("application/http") else (("content-type", kind),)
    return Response(0, Headers(told), entry.block)


def _content(entry: Entry, blank: Record, response: Response, opened: Opened) -> Record:
    """A page or an extracted text, decoded."""
    kind, charset = content_type(response.headers)
    is_text = kind == PLAIN_TYPE and entry.kind == "conversion"
    is_page = kind in HTML_TYPES or (not kind and bool(LOOKS_LIKE_HTML.match(response.body)))
    if not is_text and not is_page:
        return replace(blank, skipped="no page")
    if entry.length > len(entry.block):
        return replace(too_long(blank.number, blank.size, opened.longest), origin=blank.origin)
    try:
        data = decoded(response.body, response.headers, opened.longest)
    except TooLong:
        return replace(too_long(blank.number, blank.size, opened.longest), origin=blank.origin)
    except Undecodable as error:
        return replace(blank, problem=f"the page cannot be decoded: {error}")
    return page_record(blank, data, opened, charset) if is_page else _text(blank, data)


def page_record(blank: Record, page: bytes, opened: Opened, charset: str = "") -> Record:
    """`blank` with the page's main text, or with why there is none."""
    try:
        pages = pages_of(opened.web.pages, opened.longest)
        found = pages.text(page, charset, top_level(blank.origin.url))
    except PageFailed as error:
        return replace(blank, problem=str(error), readable=True)
    return replace(blank, text=found.text, textless=not found.text.strip(), charset=found.charset)


def _text(blank: Record, data: bytes) -> Record:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return replace(blank, problem=f"no UTF-8: {error.reason} at byte {error.start}")
    return replace(blank, text=text, textless=not text.strip())


def content_type(headers: Headers) -> tuple[str, str]:
    """Type in lower case and charset, each empty if it is not said."""
    values = headers.all("content-type")
    kinds = (value.split(";")[0].split(",")[0].strip().lower() for value in values)
    charset = CHARSET.search(";".join(values))
    return next((kind for kind in kinds if kind), ""), charset[1] if charset else ""


def origin_of(headers: Headers) -> Origin:
    """Id, address and day. Some writers put the address in angle brackets, as the id has to stand."""
    url = headers.get("warc-target-uri")
    if url.startswith("<") and url.endswith(">"):
        url = url[1:-1].strip()
    return Origin(headers.get("warc-record-id")[:2048], url[:2048], headers.get("warc-date")[:64])


def top_level(url: str) -> str:
    """The last label of an address's host; empty if it has none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".").rpartition(".")[2]
    except ValueError:
        return ""
