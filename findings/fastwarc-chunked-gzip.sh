#!/usr/bin/env bash
# FastWARC 2.0.1: behind a response that is both chunked and gzipped every further record of the archive is lost, without an
# error.
#
# With `auto_decode="all"` three such responses give one; probably the last chunk is left unread when gzip has come to its own
# end. `auto_decode="none"` gives three, as warcio does, and so does the same page chunked or gzipped alone; `strict_mode=False`
# changes nothing. A crawler that stores what servers send writes most pages like this.
# Seen on Linux, CPython 3.11: exits with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q fastwarc==2.0.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import gzip
import io
import sys
from importlib.metadata import version

from fastwarc.warc import ArchiveIterator

PAGE = b"<p>" + b"A page with a sentence of text. " * 20


def archive(codings: dict[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in codings.items())
    message = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{lines}\r\n".encode() + body
    head = "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/\r\nContent-Type: application/http; msgtype=response\r\n"
    return (f"{head}Content-Length: {len(message)}\r\n\r\n".encode() + message + b"\r\n\r\n") * 3


def count(data: bytes, **options: object) -> int:
    return sum(1 for record in ArchiveIterator(io.BytesIO(data), **options) if record.reader.read() is not None)


def chunked(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"


gzipped = {"Content-Encoding": "gzip"}
both = archive(gzipped | {"Transfer-Encoding": "chunked"}, chunked(gzip.compress(PAGE)))
seen = {
    "decoded": count(both, auto_decode="all"),
    "decoded, not strict": count(both, auto_decode="all", strict_mode=False),
    "not decoded": count(both, auto_decode="none"),
    "chunked alone": count(archive({"Transfer-Encoding": "chunked"}, chunked(PAGE)), auto_decode="all"),
    "gzipped alone": count(archive(gzipped, gzip.compress(PAGE)), auto_decode="all"),
}
print(f"fastwarc {version('fastwarc')}, records of 3: {seen}")
sys.exit(0 if list(seen.values()) == [1, 1, 3, 3, 3] else 1)
PY
