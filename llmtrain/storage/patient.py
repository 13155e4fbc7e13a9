"""A bucket that is gone for a while: every operation is tried again until patience ends, visibly and bounded.

A stage that gave up at the first refused connection would lose, and pay again for, everything since its last
checkpoint; a pod that waits is billed too, so patience has an end, after which the stage fails as Unavailable and the
operator tries again with a pause. Everything tried again here can be repeated: reads, whole-object writes, removals.
"""

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

Answer = TypeVar("Answer")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
READ_AHEAD = 4 * 2**20
IN_MEMORY = 64 * 2**20


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Patience:
    """For how long an operation is tried again. `transient` says which errors pass by themselves."""

    seconds: float
    transient: Callable[[OSError], bool]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = _say

    def keep_trying(self, what: str, work: Callable[[], Answer]) -> Answer:
        """The answer; the last error where none came in time, and at once any that trying again does not cure."""
        began, pause = self.clock(), FIRST_PAUSE
        while True:
            try:
                return work()
            except OSError as error:
                waited = self.clock() - began
                if not self.transient(error) or waited + pause > self.seconds:
                    raise
                self.say(f"storage: {what}: {str(error)[:200]}; after {waited:.0f} s, trying again in {pause:.1f} s")
            self.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


class ResumedFile(io.RawIOBase):
    """A file that is read on from where it was when its connection broke."""

    def __init__(self, open_at: Callable[[int], IO[bytes]], patience: Patience, what: str) -> None:
        """`open_at` opens it anew at an offset."""
        self._open_at, self._patience, self._what = open_at, patience, what
        self._offset = 0
        self._file: IO[bytes] | None = None
        self._ensure()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: seeking opens it anew."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """To an offset; from the end too."""
        file = self._ensure()
        self._offset = self._patience.keep_trying(self._what, lambda: file.seek(offset, whence) or file.tell())
        return self._offset

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._offset

    def readinto(self, buffer: Any) -> int:
        """Read; where the connection breaks, the file is opened anew at the same offset."""
        data = self._patience.keep_trying(self._what, lambda: self._read(len(buffer)))
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def readall(self) -> bytes:
        """The rest, in large pieces: the library's own way would ask for 8 KiB at a time, a request each."""
        parts = []
        while part := self._patience.keep_trying(self._what, lambda: self._read(READ_AHEAD)):
            self._offset += len(part)
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close what is open."""
        if self._file is not None:
            self._file.close()
        super().close()

    def _read(self, size: int) -> bytes:
        if self._file is None:
            self._file = self._open_at(self._offset)
        try:
            return self._file.read(size)
        except OSError:
            self._file = None
            raise

    def _ensure(self) -> IO[bytes]:
        if self._file is None:
            self._file = self._patience.keep_trying(self._what, lambda: self._open_at(self._offset))
        return self._file


class SpooledUpload(io.BufferedIOBase):
    """A file that is written here first and sent when it is closed: half an upload cannot be taken up again."""

    def __init__(self, send: Callable[[IO[bytes]], None]) -> None:
        """`send` sends the whole, as often as it takes."""
        self._send = send
        self._spool = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - lives until close()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Append."""
        return self._spool.write(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self._spool.tell()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        """What was being written when an error came up is not sent."""
        if kind is not None:
            self._spool.close()
        self.close()

    def __del__(self) -> None:
        """What nobody closed is not whole, and is not sent."""
        self._spool.close()

    def close(self) -> None:
        """Send."""
        if not self._spool.closed:
            self._spool.seek(0)
            self._send(cast("IO[bytes]", self._spool))
            self._spool.close()
        super().close()


class PatientFileSystem:
    """The part of fsspec's interface that `Store` uses, over an fsspec file system, with patience."""

    def __init__(self, inner: Any, patience: Patience) -> None:
        """`inner` does the work."""
        self._inner, self._patience = inner, patience

    @property
    def protocol(self) -> Any:
        """Of the inner one."""
        return self._inner.protocol

    def exists(self, path: str) -> bool:
        """Whether it is there; an error is not an answer."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def info(self, path: str) -> dict[str, Any]:
        """Size, type, time."""
        return self._try(f"info {path}", lambda: cast("dict[str, Any]", self._inner.info(path)))

    def ls(self, path: str, detail: bool = False) -> list[Any]:
        """What is right below a folder."""
        return self._try(f"list {path}", lambda: cast("list[Any]", self._inner.ls(path, detail=detail)))

    def glob(self, pattern: str, **options: Any) -> list[str]:
        """Paths that match. fsspec passes over folders that it cannot list unless it is told not to."""
        return self._try(f"list {pattern}", lambda: cast("list[str]", self._inner.glob(pattern, **options)))

    def cat_file(self, path: str) -> bytes:
        """A whole file, read on where a connection broke."""
        with self.open(path) as file:
            return file.read()

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a whole file."""
        self._try(f"write {path}", lambda: self._inner.pipe_file(path, data))

    def get_file(self, path: str, local: str) -> None:
        """Copy to a local file."""
        with self.open(path) as source, Path(local).open("wb") as target:
            shutil.copyfileobj(source, target, READ_AHEAD)

    def put_file(self, local: str, path: str) -> None:
        """Copy a local file there."""
        with Path(local).open("rb") as source:
            self._try(f"write {path}", lambda: self._send(source, path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder."""
        self._try(f"make {path}", lambda: self._inner.makedirs(path, exist_ok=exist_ok))

    def rm(self, path: str, recursive: bool = False) -> None:
        """Remove; what an earlier try has removed already is no error."""
        tries = iter(range(10**9))

        def remove() -> None:
            first = next(tries) == 0
            try:
                self._inner.rm(path, recursive=recursive)
            except FileNotFoundError:
                if first:
                    raise

        self._try(f"remove {path}", remove)

    def mv(self, path: str, new: str) -> None:
        """Rename; what an earlier try has renamed already is no error."""

        def move() -> None:
            try:
                self._inner.mv(path, new)
            except FileNotFoundError:
                if not self._inner.exists(new):
                    raise

        self._try(f"rename {path}", move)

    def open(self, path: str, mode: str = "rb") -> IO[bytes]:
        """Read with resumption, or write with one upload at the end."""
        if mode == "rb":
            raw = ResumedFile(lambda offset: self._open_at(path, offset), self._patience, f"read {path}")
            return cast("IO[bytes]", io.BufferedReader(raw, READ_AHEAD))

        def send(spool: IO[bytes]) -> None:
            self._try(f"write {path}", lambda: self._send(spool, path))

        return cast("IO[bytes]", SpooledUpload(send))

    def _open_at(self, path: str, offset: int) -> IO[bytes]:
        file: IO[bytes] = self._inner.open(path, "rb")
        if offset:
            file.seek(offset)
        return file

    def _send(self, source: IO[bytes], path: str) -> None:
        source.seek(0)
        with self._inner.open(path, "wb") as target:
            shutil.copyfileobj(source, target, READ_AHEAD)

    def _try(self, what: str, work: Callable[[], Answer]) -> Answer:
        return self._patience.keep_trying(what, work)
