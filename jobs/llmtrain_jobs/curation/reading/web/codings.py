"""Transfer and content codings of a page, undone within a bound. Where a header lies, the bytes are as they are."""

import re
import zlib
from collections.abc import Callable

import brotli
from backports import zstd

from llmtrain_jobs.curation.reading.web.headers import Headers

GZIP, ZSTD, COMPRESS = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x1f\x9d"
CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")
CHUNK_END = re.compile(rb"\r?\n")
MOST_LAYERS = 16
LOOKED_AT = 4096
LARGEST_WINDOW = 27
"""Of zstd, as a power of two; what browsers take is 8 MB."""
CONTROLS = bytes(b for b in range(32) if b not in b"\t\n\f\r\x1b\0")
"""Bytes that no text holds in any charset; NUL stands in UTF-16, ESC in ISO 2022."""


class Undecodable(ValueError):
    """The bytes begin as their coding says and then are damaged, or are neither that coding nor a text."""


class TooLong(ValueError):
    """More than the bound comes out."""


def decoded(body: bytes, headers: Headers, most: int) -> bytes:
    """The bytes of the page. Raises Undecodable, and TooLong for more than `most` bytes."""
    named = [*headers.tokens("content-encoding"), *headers.tokens("transfer-encoding")]
    for name in reversed(named[-MOST_LAYERS:]):
        body = UNDO.get(name, as_it_is)(body, most)
    for _ in range(MOST_LAYERS):
        if not body.startswith(GZIP + b"\x08"):
            break
        body = gunzipped(body, most)  # encoded more often than its header says
    if len(body) > most:
        raise TooLong
    if set(named) - NO_CODINGS and not textual(body):
        raise Undecodable(f"no text comes of `{', '.join(named)}`"[:200])
    return body


def textual(data: bytes) -> bool:
    """Whether it may be a text, by the control characters among its first bytes."""
    first = data[:LOOKED_AT]
    return len(first) - len(first.translate(None, CONTROLS)) <= len(first) // 100


def as_it_is(body: bytes, _: int) -> bytes:
    """No coding, or one that nobody knows."""
    return body


def unchunked(body: bytes, _: int) -> bytes:
    """What the chunks hold; of chunks that end too soon, what there is. The body itself if it does not begin with one."""
    pieces: list[bytes] = []
    at = 0
    while match := CHUNK_SIZE.match(body, at):
        size = int(match[1], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(body[match.end() : match.end() + size])
        at = match.end() + size
        if end := CHUNK_END.match(body, at):
            at = end.end()
    if not at:
        return body
    if at < len(body) and b"\n" in body[at : at + 32]:
        raise Undecodable(f"no size of a chunk at byte {at}")
    return b"".join(pieces)


def gunzipped(body: bytes, most: int) -> bytes:
    """All members; other bytes behind them do not count. A stream that ends too soon gives what there is."""
    if not body.startswith(GZIP):
        return body
    found, rest = bytearray(), body
    while rest.startswith(GZIP):
        piece, rest = inflated(rest, 31, most - len(found))
        found += piece
    return bytes(found)


def inflated(body: bytes, bits: int, most: int) -> tuple[bytes, bytes]:
    """One stream, and what follows it."""
    inflate = zlib.decompressobj(wbits=bits)
    try:
        found = inflate.decompress(body, most + 1)
    except zlib.error as error:
        raise Undecodable(str(error)) from error
    if len(found) > most:
        raise TooLong
    return found, inflate.unused_data


def deflated(body: bytes, most: int) -> bytes:
    """With zlib's header, as the standard says, or without, as many servers send it."""
    failure = Undecodable("no text comes of deflate")
    for bits in (15, -15):
        try:
            found = inflated(body, bits, most)[0]
        except Undecodable as error:
            failure = error
            continue
        if textual(found) and (found or not body):
            return found
    return plain_or(body, failure)


def unbrotlied(body: bytes, most: int) -> bytes:
    """Brotli, which has no mark to know it by."""
    unpack, found = brotli.Decompressor(), bytearray()
    try:
        found += unpack.process(body, output_buffer_limit=most + 1)
        while not unpack.can_accept_more_data() and len(found) <= most:
            found += unpack.process(b"", output_buffer_limit=most + 1)
    except brotli.error as error:
        return plain_or(body, Undecodable(f"brotli: {error}"))
    if len(found) > most:
        raise TooLong
    if not unpack.is_finished() and (not found or not textual(bytes(found[:LOOKED_AT]))):
        return plain_or(body, Undecodable("brotli: the stream has no end"))
    return bytes(found)


def unzstd(body: bytes, most: int) -> bytes:
    """All frames, like gzip."""
    found, rest = bytearray(), body
    while rest.startswith(ZSTD):
        frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: LARGEST_WINDOW})
        try:
            found += frame.decompress(rest, most + 1 - len(found))
        except zstd.ZstdError as error:
            raise Undecodable(str(error)) from error
        if len(found) > most:
            raise TooLong
        rest = frame.unused_data if frame.eof else b""
    return bytes(found) if found or body.startswith(ZSTD) else body


def uncompressed(body: bytes, _: int) -> bytes:
    """LZW, which nobody sends any more."""
    if body.startswith(COMPRESS):
        raise Undecodable("`compress` is not read")
    return body


def plain_or(body: bytes, failure: Undecodable) -> bytes:
    """The bytes as they are if they are a text: their header lies."""
    if not textual(body):
        raise failure
    return body


Undo = Callable[[bytes, int], bytes]
UNDO: dict[str, Undo] = {
    "chunked": unchunked, "gzip": gunzipped, "x-gzip": gunzipped, "deflate": deflated, "x-deflate": deflated, "zlib": deflated,
    "br": unbrotlied, "brotli": unbrotlied, "x-br": unbrotlied, "zstd": unzstd, "x-zstd": unzstd,
    "compress": uncompressed, "x-compress": uncompressed,
}  # fmt: skip
NO_CODINGS = frozenset({"identity", "none", "binary", "8bit", "7bit"})
