"""Bytes of a file, decompressed by its ending."""

import gzip
import io
import zlib
from typing import IO, TYPE_CHECKING, cast

import pyarrow as pa

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException)
"""What a decompressor or parser raises for a damaged file. `OSError` in general is storage's business."""


def plain(raw: IO[bytes], file: str) -> IO[bytes]:
    """The uncompressed stream of a file, read block by block."""
    if file.endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20)
    if file.endswith((".zst", ".zstd")):
        return cast(IO[bytes], io.BufferedReader(ZstdStream(raw), 1 << 20))
    return raw


class ZstdStream(io.RawIOBase):
    """zstd by pyarrow, which Ray brings along; a stream that ends within a frame is an error, not an end."""

    def __init__(self, raw: IO[bytes]) -> None:
        """`raw`: the compressed bytes."""
        super().__init__()
        self._stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """At most a buffer's worth."""
        view = memoryview(buffer).cast("B")
        try:
            data = self._stream.read(len(view))
        except OSError as error:
            raise EOFError(str(error)) from error
        view[: len(data)] = data
        return len(data)


def lines(stream: IO[bytes], longest: int) -> "Lines":
    """Lines of a stream with their sizes."""
    return Lines(stream, longest)


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
        size = len(line)
        while more := self._stream.readline(1 << 20):
            size += len(more)
            if more.endswith(b"\n"):
                break
        return self._number, size, None
