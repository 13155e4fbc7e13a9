"""Uncompressed bytes of a web archive by their position, and where its compressed members begin or break."""

import lzma
import re
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase, RawIOBase
from typing import Protocol

from backports import zstd
from fastwarc.stream_io import Lz4Reader

from llmtrain_jobs.curation.reading.streams import BZIP2, GZIP, LARGEST_WINDOW, XZ, Compression, Unpacker

BLOCK = 65536
LZ4 = b"\x04\x22\x4d\x18"
ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
DICTIONARY = b"\x5d\x2a\x4d\x18"
"""A zstd archive may begin with a skippable frame that holds the dictionary of all others (IIPC's rules for .warc.zst)."""
LARGEST_DICTIONARY = 1 << 26
UNREADABLE = (zlib.error, zstd.ZstdError, lzma.LZMAError, EOFError, OSError, ValueError)
"""What decompressors raise; none of them touches a file here."""
WARC_RECORD, ARC_RECORD = re.compile(rb"WARC/\d"), re.compile(rb"[a-z][a-z0-9+.-]*:")
ARC_FILE = re.compile(rb"filedesc:")
LONGEST_MAGIC = 6
PIECE, UNLIMITED = 1024, 1 << 30
CUT = "the compressed data end within a member"


@dataclass(frozen=True)
class Break:
    """Where compressed bytes could not be undone. `since`: where the damaged member begins; `cut`: the file ends in it."""

    position: int
    reason: str
    since: int
    cut: bool = False


class Blocks(Protocol):
    """Uncompressed bytes in blocks. `starts`: positions at which a member begins with a record."""

    starts: deque[int]
    breaks: deque[Break]

    def read(self) -> bytes:
        """The next block; nothing at the end."""

    def seek(self, position: int) -> int:
        """Go on from an earlier position; bytes that have to be read again on the way."""

    def forget(self, position: int) -> None:
        """Nobody goes back before it."""


class Plain:
    """No compression."""

    def __init__(self, raw: RawIOBase | BufferedIOBase) -> None:
        """`raw`: a file at its start."""
        self._raw = raw
        self.starts: deque[int] = deque()
        self.breaks: deque[Break] = deque()

    def read(self) -> bytes:
        """The next block."""
        return self._raw.read(BLOCK)

    def seek(self, position: int) -> int:
        """Go on from an earlier position."""
        self._raw.seek(position)
        return 0

    def forget(self, position: int) -> None:
        """Nothing to forget."""


class Members:
    """gzip's members, zstd's frames and their like, one after the other. Behind a damaged one the next that holds a record is looked for."""

    def __init__(
        self, raw: RawIOBase | BufferedIOBase, make: Callable[[], Unpacker], magic: "re.Pattern[bytes]"
    ) -> None:
        """`magic`: what a member begins with, at most `LONGEST_MAGIC` bytes."""
        self._raw, self._make, self._magic = raw, make, magic
        self.starts: deque[int] = deque()
        self.breaks: deque[Break] = deque()
        self._members: list[tuple[int, int]] = []
        self._record = WARC_RECORD
        self._begin(0, 0, 0)

    def _begin(self, offset: int, position: int, skip: int) -> None:
        """At `offset` of the file, which is `position` uncompressed; `skip` bytes of it are not wanted again."""
        self._raw.seek(offset)
        self._input, self._offset, self._position, self._skip = b"", offset, position, skip
        self._unpacker: Unpacker | None = None
        self._ended = False

    def seek(self, position: int) -> int:
        """Go on from an earlier position: by the member that holds it."""
        while self._members and self._members[-1][0] > position:
            self._members.pop()
        start, offset = self._members.pop() if self._members else (0, 0)
        self.starts = deque(at for at in self.starts if at < start)
        self.breaks = deque(found for found in self.breaks if found.position < start)
        self._begin(offset, start, position - start)
        return position - start

    def forget(self, position: int) -> None:
        """Nobody goes back before it."""
        while len(self._members) > 1 and self._members[1][0] <= position:
            self._members.pop(0)

    def read(self) -> bytes:
        """The next block; nothing at the end."""
        while not self._ended:
            if self._unpacker is None:
                self._next_member()
                continue
            data = self._piece(self._unpacker)
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            if len(data) > skipped:
                return data[skipped:]
        return b""

    def _piece(self, unpacker: Unpacker) -> bytes:
        """Some bytes of the member at hand."""
        given = b""
        if unpacker.needs_input:
            if not self._input and not self._more():
                self._broken(CUT)
                return b""
            given, self._input = self._input, b""
            self._offset += len(given)
        try:
            data = unpacker.decompress(given, BLOCK)
        except UNREADABLE as error:
            data = self._rescued()
            self._position += len(data)
            self._broken(str(error))
            return data
        if not self._position and ARC_FILE.match(data):
            self._record = ARC_RECORD
        if data and self._position == self._members[-1][0] and self._record.match(data):
            self.starts.append(self._position)
        self._position += len(data)
        if unpacker.eof:
            self._input, self._unpacker = unpacker.unused_data, None
            self._offset -= len(self._input)
        return data

    def _more(self) -> bool:
        """Whether the file has further bytes; they are behind those at hand then."""
        found = self._raw.read(BLOCK)
        self._input += found
        return bool(found)

    def _next_member(self) -> None:
        """Begin it; padding before it is passed over."""
        while not self._magic.match(self._input):
            stripped = self._input.lstrip(b"\0\r\n ")
            self._offset += len(self._input) - len(stripped)
            self._input = stripped
            whole = len(stripped) < LONGEST_MAGIC and not self._more()
            if whole and not self._input:
                self._ended = True
                return
            if whole or (len(self._input) >= LONGEST_MAGIC and not self._magic.match(self._input)):
                self._broken("bytes that are no compressed data")
                return
        self._start(self._offset)

    def _start(self, offset: int) -> None:
        self._members.append((self._position, offset))
        self._unpacker = self._make()

    def _rescued(self) -> bytes:
        """What the member held between the position and its damage: a decompressor that fails keeps what that call made."""
        start, offset = self._members[-1]
        whole, pieces = self._again(offset, self._position - start, None)
        return whole + self._again(offset, self._position - start + len(whole), pieces)[0]

    def _again(self, offset: int, produced: int, pieces: int | None) -> tuple[bytes, int]:
        """The member read anew: what it makes after `produced` bytes, and how many pieces are whole; behind `pieces` bytewise."""
        self._raw.seek(offset)
        unpacker, made, rescued, number = self._make(), 0, bytearray(), 0
        while piece := self._raw.read(PIECE if pieces is None or number < pieces else 1):
            try:
                found = unpacker.decompress(piece, UNLIMITED)
            except UNREADABLE:
                break
            rescued += found[max(0, produced - made) :]
            made, number = made + len(found), number + 1
        return bytes(rescued), number

    def _broken(self, reason: str) -> None:
        """Note it and go to the next member that holds a record."""
        since, offset = self._position, self._offset + 1
        if self._unpacker is not None:
            since, offset = self._members[-1][0], self._members[-1][1] + 1
        self._unpacker = None
        found = self._search(offset)
        self.breaks.append(Break(self._position, reason, since, cut=reason == CUT and found is None))
        self._ended = found is None
        if found is not None:
            self._raw.seek(found)
            self._input, self._offset = b"", found
            self._start(found)

    def _search(self, offset: int) -> int | None:
        """Where the next member stands that begins with a record."""
        self._raw.seek(offset)
        data = b""
        while more := self._raw.read(16 * BLOCK):
            data += more
            for match in self._magic.finditer(data):
                if self._holds_a_record(data[match.start() : match.start() + 4096]):
                    return offset + match.start()
            offset += max(0, len(data) - 4096)
            data = data[-4096:]
        return None

    def _holds_a_record(self, data: bytes) -> bool:
        try:
            return bool(self._record.match(self._make().decompress(data, 64)))
        except UNREADABLE:
            return False


class Frames:
    """lz4, which only FastWARC reads: what comes before damage, no more."""

    def __init__(self, raw: RawIOBase | BufferedIOBase) -> None:
        """`raw`: a file at its start."""
        self._raw = raw
        self.seek(0)

    def seek(self, position: int) -> int:
        """Go on from an earlier position: from the file's start."""
        self._raw.seek(0)
        self._reader = Lz4Reader(self._raw)
        self.starts: deque[int] = deque()
        self.breaks: deque[Break] = deque()
        self._position, self._ended = 0, False
        while self._position < position and self._take(min(BLOCK, position - self._position)):
            pass
        return self._position

    def read(self) -> bytes:
        """The next block; nothing at the end."""
        return self._take(BLOCK)

    def _take(self, size: int) -> bytes:
        if self._ended:
            return b""
        try:
            data: bytes = self._reader.read(size)
        except OSError as error:
            data = b""
            self.breaks.append(Break(self._position, str(error), 0, cut=True))
        self._ended = not data
        self._position += len(data)
        return data

    def forget(self, position: int) -> None:
        """Nothing to forget."""


def blocks_of(raw: RawIOBase | BufferedIOBase) -> Blocks:
    """By the file's first bytes, whatever its name says."""
    raw.seek(0)
    first = raw.read(LONGEST_MAGIC)
    raw.seek(0)
    if first.startswith(LZ4):
        return Frames(raw)
    if ZSTD.match(first):
        return Members(raw, _zstd(raw), ZSTD)
    for compression in (GZIP, BZIP2, XZ):
        if first.startswith(compression.starts):
            return Members(raw, compression.unpacker, _magic_of(compression))
    return Plain(raw)


def _magic_of(compression: Compression) -> "re.Pattern[bytes]":
    return re.compile(b"|".join(re.escape(start) for start in compression.starts))


def _zstd(raw: RawIOBase | BufferedIOBase) -> Callable[[], Unpacker]:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: LARGEST_WINDOW}
    dictionary = None
    if raw.read(4) == DICTIONARY and (size := int.from_bytes(raw.read(4), "little")) <= LARGEST_DICTIONARY:
        content = raw.read(size)
        try:
            plain = zstd.decompress(content) if content.startswith(b"\x28\xb5\x2f\xfd") else content
            dictionary = zstd.ZstdDict(plain)
        except UNREADABLE:
            pass
    raw.seek(0)
    return partial(zstd.ZstdDecompressor, zstd_dict=dictionary, options=options)


class Tape:
    """Bytes by position, of which a stretch is held."""

    def __init__(self, raw: RawIOBase | BufferedIOBase) -> None:
        """`raw`: a file that can be sought in."""
        self._blocks = blocks_of(raw)
        self.compressed = not isinstance(self._blocks, Plain)
        self._held, self._first = bytearray(), 0
        self.ended = False

    @property
    def end(self) -> int:
        """Behind the last byte that is held; of an ended tape, its length."""
        return self._first + len(self._held)

    def upto(self, position: int) -> int:
        """Hold what there is up to a position; how far that is."""
        while (end := self._first + len(self._held)) < position and not self.ended:
            data = self._blocks.read()
            self._held += data
            self.ended = not data
        return min(end, position)

    def cut(self, start: int, end: int) -> bytes:
        """What is held between two positions."""
        return bytes(self._held[start - self._first : end - self._first])

    def find(self, pattern: "re.Pattern[bytes]", start: int, end: int) -> tuple[int, int] | None:
        """Where a pattern begins and ends between two positions."""
        match = pattern.search(self._held, max(0, start - self._first), end - self._first)
        return (self._first + match.start(), self._first + match.end()) if match else None

    def at(self, pattern: "re.Pattern[bytes]", position: int) -> bool:
        """Whether a pattern stands there."""
        return pattern.match(self._held, position - self._first) is not None

    def drop(self, position: int) -> None:
        """Hold nothing before it."""
        if position > self._first:
            del self._held[: position - self._first]
            self._first = position

    def settle(self, position: int) -> None:
        """Nobody goes back before it."""
        self.drop(position - 1)
        self._blocks.forget(position)
        starts, breaks = self._blocks.starts, self._blocks.breaks
        while starts and starts[0] < position:
            starts.popleft()
        while breaks and breaks[0].position < position:
            breaks.popleft()

    def back(self, position: int) -> int:
        """Hold the bytes from there on again; bytes that are read once more for it."""
        if position >= self._first:
            return 0
        again = self.end - position + self._blocks.seek(position)
        self._held, self._first, self.ended = bytearray(), position, False
        return again

    def break_at_or_after(self, position: int) -> Break | None:
        """The first of those that were met."""
        return next((found for found in self._blocks.breaks if found.position >= position), None)

    def passed(self, broken: Break) -> None:
        """It was told."""
        self._blocks.breaks.remove(broken)

    def member_after(self, position: int) -> int | None:
        """The first place behind it, of those that were met, where a member begins with a record."""
        return next((at for at in self._blocks.starts if at > position), None)
