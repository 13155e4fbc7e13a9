"""Bytes of a file, decompressed by its ending as `gzip -d`, `zstd -d`, `bzip2 -d` and `xz -d` do it.

Two things go wrong with a file: storage does not give its bytes, or the bytes are no longer what was written. The first
is raised, the second ends the file: what was read before it stays, and `SourceFile.damage` says what it was.
"""

import bz2
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

import pyarrow as pa

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError, pa.ArrowException)
"""What a decompressor or a parser raises for a damaged file. Storage's own `OSError` stands in `SourceFile.failed`."""
PIECE = 1 << 16
"""Compressed bytes that are read at a time."""
BUFFER = 1 << 20
LESS_THAN_A_BLOCK = 16
"""Bytes of bzip2 in which no two blocks can end."""
FIRST_BYTES = 6
"""By which every compression is told."""
LARGEST_WINDOW = 31
"""Of zstd, as a power of two: the most that the format's own tool writes (`--long=31`) on 64-bit machines."""


class SourceFile(io.RawIOBase):
    """A file of a source. `failed`: storage's error; `damage`: what ended the reading of its bytes.

    `behind`: bytes behind the compressed ones, which are passed over.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        """`raw`: as storage gives it."""
        super().__init__()
        self._raw = raw
        self.failed: OSError | None = None
        self.damage: Exception | None = None
        self.behind = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: a mounted volume's files are, and a bucket's are opened anew."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """At most a buffer's worth."""
        view = memoryview(buffer).cast("B")
        try:
            data = self._raw.read(len(view))
        except OSError as error:
            self.failed = error
            raise
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """To a place in the file."""
        try:
            return self._raw.seek(offset, whence)
        except OSError as error:
            self.failed = error
            raise

    def tell(self) -> int:
        """Where the next byte stands."""
        return self._raw.tell()

    def raise_failure(self) -> None:
        """Storage's error, if there was one, whatever a library made of it."""
        if self.failed is not None:
            raise self.failed


class Unpacker(Protocol):
    """One compressed stream, as the standard library's decompressors have it."""

    @property
    def eof(self) -> bool:
        """Its end was met."""

    @property
    def needs_input(self) -> bool:
        """Nothing more comes out without further bytes."""

    @property
    def unused_data(self) -> bytes:
        """What stood behind its end in the bytes that were given."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes."""


class GzipMember:
    """zlib's object with the interface of the others."""

    def __init__(self) -> None:
        """At the member's header."""
        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Header, data and checksum were read."""
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """What follows the member."""
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes."""
        given = self._inner.unconsumed_tail + data
        found = self._inner.decompress(given, max_length)
        self.needs_input = not self._inner.unconsumed_tail and len(found) < max_length
        return found


class Bzip2Stream:
    """bzip2 block by block: what is in one is given once its checksum was right, for until then it may be anything."""

    def __init__(self) -> None:
        """At the stream's header."""
        self._inner = bz2.BZ2Decompressor()
        self._given, self._made = memoryview(b""), memoryview(b"")

    @property
    def eof(self) -> bool:
        """All blocks were read and given."""
        return self._inner.eof and not self._made

    @property
    def needs_input(self) -> bool:
        """Nothing is held."""
        return not self._given and not self._made and not self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """What follows the stream."""
        return self._inner.unused_data + bytes(self._given)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes."""
        if data:
            self._given = memoryview(bytes(self._given) + data)
        while not self._made and self._given and not self._inner.eof:
            given, self._given = self._given[:LESS_THAN_A_BLOCK], self._given[LESS_THAN_A_BLOCK:]
            self._made = memoryview(self._inner.decompress(given))
        found, self._made = bytes(self._made[:max_length]), self._made[max_length:]
        return found


def _zstd_frame() -> Unpacker:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: LARGEST_WINDOW})


@dataclass(frozen=True)
class Compression:
    """A way to compress. `starts`: first bytes of a stream; `strict`: other bytes behind one are damage, not ignored."""

    unpacker: Callable[[], Unpacker]
    starts: tuple[bytes, ...]
    strict: bool


GZIP = Compression(GzipMember, (b"\x1f\x8b",), strict=False)
BZIP2 = Compression(Bzip2Stream, (b"BZh",), strict=False)
XZ = Compression(lzma.LZMADecompressor, (b"\xfd7zXZ\x00",), strict=True)
ZSTD = Compression(
    _zstd_frame, (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n, 0x2A, 0x4D, 0x18]) for n in range(16))), strict=True
)
COMPRESSIONS = {".gz": GZIP, ".zst": ZSTD, ".zstd": ZSTD, ".bz2": BZIP2, ".xz": XZ}


def compression_of(file: str) -> tuple[str, Compression | None]:
    """The name without the ending of a compression, in lower case, and the compression that it names."""
    name = file.rsplit("/", 1)[-1].lower()
    for ending, compression in COMPRESSIONS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), compression
    return name, None


def plain(raw: SourceFile, file: str) -> io.BufferedReader:
    """The uncompressed stream of a file, read block by block."""
    compression = compression_of(file)[1]
    return io.BufferedReader(Unpacked(raw, compression) if compression else raw, BUFFER)


@dataclass(frozen=True)
class Place:
    """A place in a compressed file, and the bytes that its stream had made before it."""

    packed: int
    made: int


class Unpacked(io.RawIOBase):
    """Compressed streams one after the other. It ends where the file's bytes are damaged, and tells the file so."""

    def __init__(self, raw: SourceFile, compression: Compression) -> None:
        """`raw`: the compressed bytes, from where they are."""
        super().__init__()
        self._raw, self._compression = raw, compression
        self._unpacker: Unpacker | None = None
        self._given, self._over = b"", False
        self._stream = self._piece = Place(0, 0)
        self._produced = self._streams = self._place = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes that were read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Nowhere but where it is: some libraries ask for their place in this way."""
        if offset != (0 if whence == io.SEEK_CUR else self._place) or whence == io.SEEK_END:
            raise io.UnsupportedOperation("a compressed file is read from its start to its end")
        return self._place

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """At most a buffer's worth; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = b""
        while not data and not self._over:
            data = self._next(len(view))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def _next(self, size: int) -> bytes:
        """The next bytes, none of a step that gave none."""
        try:
            if self._unpacker is not None:
                return self._step(self._unpacker, size)
            self._over = not self._begin()
        except DAMAGE as error:
            self._raw.raise_failure()
            self._over, self._raw.damage = True, error
            return b"" if isinstance(error, EOFError) else self._unsaid(size)
        return b""

    def _begin(self) -> bool:
        """Whether another stream begins here. Zeros that pad a block are none."""
        if self._streams:
            self._given = self._given.lstrip(b"\0")
            while not self._given and (more := self._read()):
                self._given = more.lstrip(b"\0")
        while len(self._given) < FIRST_BYTES and (more := self._read()):
            self._given += more
        if not self._given:
            return False
        if not self._given.startswith(self._compression.starts):
            begun = any(start.startswith(self._given) for start in self._compression.starts)
            if self._streams and not self._compression.strict and not begun:
                self._raw.behind = len(self._given) + sum(map(len, iter(self._read, b"")))
                return False
            raise EOFError("other bytes behind the compressed ones" if self._streams else "no compressed file")
        self._stream = Place(self._raw.tell() - len(self._given), 0)
        self._unpacker, self._produced, self._streams = self._compression.unpacker(), 0, self._streams + 1
        return True

    def _read(self) -> bytes:
        return self._raw.read(PIECE) or b""

    def _step(self, unpacker: Unpacker, size: int) -> bytes:
        given, self._given = self._given, b""
        if unpacker.needs_input and not given:
            given = self._read()
            if not given:
                raise EOFError("the file ends within its compressed bytes")
        if given:
            self._piece = Place(self._raw.tell() - len(given), self._produced)
        data = unpacker.decompress(given, size)
        self._produced += len(data)
        if unpacker.eof:
            self._given, self._unpacker = unpacker.unused_data, None
        return data

    def _unsaid(self, size: int) -> bytes:
        """What a decompressor had made when it failed, of which it tells nothing. Fed once more, byte by byte, it does."""
        again, data, made = self._compression.unpacker(), bytearray(), 0
        known = self._produced - self._piece.made

        def left_of_known() -> int:
            return max(1, known - made)

        self._raw.seek(self._stream.packed)
        try:
            while (left := self._piece.packed - self._raw.tell()) > 0 and (given := self._raw.read(min(left, PIECE))):
                for _ in _made(again, given, lambda: BUFFER):
                    pass
            for byte in self._read():
                for found in _made(again, bytes([byte]), left_of_known):
                    data += b"" if made < known else found
                    made += len(found)
                    if len(data) == size:
                        return bytes(data)
        except DAMAGE:
            self._raw.raise_failure()
        return bytes(data)


def _made(unpacker: Unpacker, given: bytes, most: Callable[[], int]) -> Iterator[bytes]:
    """All that comes out of some bytes of a stream, at a time as much as `most` says."""
    yield unpacker.decompress(given, most())
    while not unpacker.needs_input and not unpacker.eof:
        yield unpacker.decompress(b"", most())


class Lines:
    """Iterates (number, bytes of the line, line); a line over the limit comes as None, never whole in memory."""

    def __init__(self, stream: IO[bytes], longest: int) -> None:
        """`longest`: bytes of a line that is returned."""
        self._stream, self._longest, self._number = stream, longest, 0

    def next(self) -> tuple[int, int, bytes | None] | None:
        """The next line; None at the end."""
        line = self._stream.readline(self._longest)
        if not line:
            return None
        self._number += 1
        if len(line) < self._longest or line.endswith(b"\n"):
            return self._number, len(line), line
        return self._number, len(line) + rest_of_line(self._stream), None


def rest_of_line(stream: IO[bytes]) -> int:
    """Bytes up to the end of the line, which are passed over."""
    size = 0
    while more := stream.readline(BUFFER):
        size += len(more)
        if more.endswith(b"\n"):
            break
    return size
