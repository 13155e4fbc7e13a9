"""The HTTP message within a record."""

import re
from dataclasses import dataclass

from llmtrain_jobs.curation.reading.web.headers import BLANK_LINE, LONGEST, Headers, headers_of

STATUS_LINE = re.compile(rb"[ \r\n\t]*(?:HTTP/\d+(?:\.\d+)?|ICY)[ \t]+(\d{3})[^\n]*\n")
LINE_END = re.compile(rb"\r?\n")
MOST_INTERIM = 8
HEADER_LINE = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,60}:[^\n]*\n")


@dataclass(frozen=True)
class Response:
    """`status`: 0 where the message has none; `body`: as it was sent, encoded."""

    status: int
    headers: Headers
    body: bytes


def response_of(block: bytes) -> Response:
    """From a record's content. Interim answers (100 Continue) and a proxy's own are passed over.

    Without a status line and headers, all of it is the body, as in HTTP 0.9.
    """
    response = _message(block)
    for _ in range(MOST_INTERIM):
        if response.status // 100 not in (1, 2) or not STATUS_LINE.match(response.body):
            break
        response = _message(response.body)
    return response


def _message(block: bytes) -> Response:
    status = STATUS_LINE.match(block)
    start = status.end() if status else 0
    if not status and not HEADER_LINE.match(block):
        return Response(0, Headers(), block)
    code = int(status[1]) if status else 0
    if without := LINE_END.match(block, start):
        return Response(code, Headers(), block[without.end() :])
    end = BLANK_LINE.search(block, start, start + LONGEST)
    if end is None:
        return Response(code, headers_of(block[start : start + LONGEST]), b"")
    return Response(code, headers_of(block[start : end.start()]), block[end.end() :])
