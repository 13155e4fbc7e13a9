"""Pages are decoded by what their headers say where that is true, as they are where it is not; damage costs one page."""

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from llmtrain_jobs.curation.reading.web.codings import TooLong, Undecodable, decoded
from llmtrain_jobs.curation.reading.web.headers import headers_of
from llmtrain_jobs.curation.reading.web.response import response_of

from tests.unit.jobs.curation.reading.archives import GOOD, HTML, PAGE, http, members, pages, read, warc


def chunked(data: bytes, size: int = 100, line: str = "%x", end: bytes = b"\r\n") -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join((line % len(part)).encode() + end + part + end for part in parts) + b"0" + end + end


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


GZIP, ZLIB, BR, ZSTD = gzip.compress(PAGE), zlib.compress(PAGE), brotli.compress(PAGE), zstd.compress(PAGE)
CE, TE = "Content-Encoding: ", "Transfer-Encoding: "
RIGHT: dict[str, tuple[list[str], bytes]] = {
    "chunked": ([TE + "chunked"], chunked(PAGE)), "Chunked": ([TE + "Chunked"], chunked(PAGE)),
    "CHUNKED": (["transfer-encoding:CHUNKED"], chunked(PAGE)), "chunks with extensions": ([TE + "chunked"], chunked(PAGE, line="%X;name=value")),
    "chunks with zeros": ([TE + "chunked"], chunked(PAGE, line="0000%x ")), "chunks by LF": ([TE + "chunked"], chunked(PAGE, end=b"\n")),
    "one byte chunks": ([TE + "chunked"], chunked(PAGE, 1)), "trailers": ([TE + "chunked"], chunked(PAGE)[:-2] + b"Expires: now\r\n\r\n"),
    "no last chunk": ([TE + "chunked"], chunked(PAGE)[:-5]), "cut in the last chunk": ([TE + "chunked"], chunked(PAGE + b" " * 80)[:-20]),
    "gzip": ([CE + "gzip"], GZIP), "GZIP": ([CE + "GZIP"], GZIP), "x-gzip": ([CE + "x-gzip"], GZIP), "two members": ([CE + "gzip"], gzip.compress(PAGE[:99]) + gzip.compress(PAGE[99:])),
    "zeros behind gzip": ([CE + "gzip"], GZIP + b"\0\0\0"), "gzip without its end": ([CE + "gzip"], GZIP[:-9]),
    "deflate by zlib": ([CE + "deflate"], ZLIB), "raw deflate": ([CE + "deflate"], raw_deflate(PAGE)),
    "br": ([CE + "br"], BR), "zstd": ([CE + "zstd"], ZSTD), "two frames": ([CE + "zstd"], zstd.compress(PAGE[:99]) + zstd.compress(PAGE[99:])),
    "gzip, gzip": ([CE + "gzip, gzip"], gzip.compress(GZIP)), "two headers": ([CE + "deflate", CE + "gzip"], gzip.compress(ZLIB)),
    "br within gzip": ([CE + "br, gzip"], gzip.compress(BR)), "gzip then chunked": ([CE + "gzip", TE + "chunked"], chunked(GZIP, 7)),
    "both by transfer": ([TE + "gzip, chunked"], chunked(GZIP)), "parameters": ([CE + '"gzip";q=1'], GZIP),
    "identity": ([CE + "identity"], PAGE), "more often than said": ([CE + "gzip"], gzip.compress(GZIP)), "not said": ([], GZIP),
}  # fmt: skip
LIES: dict[str, tuple[list[str], bytes]] = {
    **{name: ([CE + name], PAGE) for name in ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "UTF-8", "none", "", "gzip, br", "text/html")},
    "chunked": ([TE + "chunked"], PAGE), "chunked and gzip": ([CE + "gzip", TE + "chunked"], PAGE), "gzip without chunks": ([CE + "gzip", TE + "chunked"], GZIP),
    "twice": ([CE + "gzip, gzip"], GZIP),
}  # fmt: skip


@pytest.mark.parametrize("packing", [b"".join, members], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", [*RIGHT, *(f"lie: {name}" for name in LIES)])
def test_the_page_comes_out_and_the_next_record_is_found(name: str, packing: Callable[[list[bytes]], bytes]) -> None:
    headers, body = LIES[name[5:]] if name.startswith("lie: ") else RIGHT[name]
    found = read(packing([GOOD, warc(http([HTML, *headers], body)), GOOD]))
    assert pages(found) == ["page"] * 3


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


DAMAGED: dict[str, tuple[list[str], bytes]] = {
    "gzip": ([CE + "gzip"], flipped(GZIP, 40)), "gzip's checksum": ([CE + "gzip"], flipped(GZIP, len(GZIP) - 6)), "zlib": ([CE + "deflate"], flipped(ZLIB, 40)),
    "br": ([CE + "br"], flipped(BR, 3) + bytes(range(256))), "zstd": ([CE + "zstd"], flipped(ZSTD, 9)), "compress": ([CE + "compress"], b"\x1f\x9d\x90" + bytes(99)),
    "neither coding nor text": ([CE + "gzip"], bytes(range(1, 256)) * 4), "an unknown coding": ([CE + "dcb"], bytes(range(1, 256)) * 4),
    "a chunk's size": ([TE + "chunked"], chunked(PAGE)[:104] + b"\r\nzz\r\n" + chunked(PAGE)[109:]),
}  # fmt: skip


@pytest.mark.parametrize("packing", [b"".join, members], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", list(DAMAGED))
def test_damage_is_one_bad_record(name: str, packing: Callable[[list[bytes]], bytes]) -> None:
    headers, body = DAMAGED[name]
    found = read(packing([GOOD, warc(http([HTML, *headers], body)), GOOD]))
    assert pages(found) == ["page", "bad", "page"]
    assert found[1].problem.startswith("the page cannot be decoded: ")
    assert found[1].origin.url == "http://a.example/page"


BOMB = b"<p>" + b"a" * 3_000_000
BOMBS = {"gzip": gzip.compress(BOMB), "deflate": zlib.compress(BOMB), "br": brotli.compress(BOMB), "zstd": zstd.compress(BOMB),
         "gzip, gzip": gzip.compress(gzip.compress(BOMB)), "identity": BOMB}  # fmt: skip


@pytest.mark.parametrize("name", list(BOMBS))
def test_what_comes_out_is_bounded(name: str) -> None:
    with pytest.raises(TooLong):
        decoded(BOMBS[name], headers_of(f"{CE}{name}".encode()), 1_000_000)
    assert decoded(BOMBS[name], headers_of(f"{CE}{name}".encode()), len(BOMB)) == BOMB
    found = read(GOOD + warc(http([HTML, CE + name], BOMBS[name])) + GOOD, longest=1_000_000)
    assert pages(found) == ["page", "bad", "page"]
    assert "longer than 1000000 bytes" in found[1].problem


def test_an_endless_list_of_codings_ends() -> None:
    assert decoded(PAGE, headers_of((CE + "gzip, " * 50_000).encode()), 1 << 20) == PAGE


def test_a_text_that_is_cut_within_a_coding_is_not_taken_for_noise() -> None:
    with pytest.raises(Undecodable):
        decoded(BR[:6], headers_of(f"{CE}br".encode()), 1 << 20)


MESSAGES = {
    "CRLF": http(), "LF": http(end="\n"), "no reason": http(status="HTTP/1.1 200"), "HTTP/2": http(status="HTTP/2 200"), "ICY": http(status="ICY 200 OK"),
    "blank lines before": b"\r\n\r\n" + http(), "no headers": http([]), "no status line": http(status="Server: x"), "Latin-1": http(["X-Name: Ren\xe9", HTML]),
    "folded": http(["X-Long: a", "\tb", HTML]), "a line without a colon": http(["nonsense", HTML]), "body alone": PAGE, "100 Continue before": b"HTTP/1.1 100 Continue\r\n\r\n" + http(),
    "a proxy before": b"HTTP/1.1 200 Connection established\r\nProxy: x\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + http(),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MESSAGES))
def test_the_body_begins_behind_the_headers_however_they_are_written(name: str) -> None:
    response = response_of(MESSAGES[name])
    assert response.body == PAGE
    assert response.status == (0 if name in ("no status line", "body alone") else 200)
    assert pages(read(warc(MESSAGES[name]) + GOOD)) == ["page", "page"]
