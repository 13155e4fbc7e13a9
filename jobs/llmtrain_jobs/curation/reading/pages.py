"""Texts of pages, in a process of their own that a page may end but not the stage.

A parser of HTML is native code: a deep page takes it minutes, a nest of lists gigabytes, and neither can be interrupted
from within. The kernel ends this process when a page has used its seconds or its memory; the next page gets a new one.
"""

import atexit
import contextlib
import fcntl
import os
import resource
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import IO

from llmtrain_jobs.curation.reading.charset import characters_of
from llmtrain_jobs.curation.reading.html import main_text
from llmtrain_jobs.curation.reading.pagelimits import PageLimits

REQUEST, ANSWER = struct.Struct(">IHH"), struct.Struct(">cBI")
PIPE = 1 << 20
READY, TEXT, LONG = b"R", b"T", b"L"
WALL_FACTOR, WALL_SECONDS = 10, 60
"""A page has so many times its CPU seconds, and some more, by the clock: its process may have to wait for a core."""
OWN_BYTES, BYTES_PER_BYTE = 768 << 20, 32
"""Address space of the process, and what the tree of a page may take for each byte of the longest one."""

DATA_PART = 3
COMMENTS = "comments"


class PageFailed(Exception):
    """No text comes of the page; why, for people."""


@dataclass(frozen=True)
class PageText:
    """Main text of a page, and the charset that the page was read as."""

    text: str
    charset: str


class Pages:
    """Asks a process for texts, one page after the other."""

    def __init__(self, limits: PageLimits, longest: int) -> None:
        """`longest`: bytes of a text."""
        self._limits, self._longest = limits, longest
        self._process: subprocess.Popen[bytes] | None = None

    def text(self, page: bytes, charset: str, domain: str) -> PageText:
        """Main text of a page. Raises PageFailed, also for a text that is longer than the longest."""
        names = [name.encode()[:60] for name in (charset, domain)]
        head = REQUEST.pack(len(page), *map(len, names)) + b"".join(names)
        for last in (False, True):
            process = self._process or self._start()
            try:
                return self._asked(process, head, page)
            except (EOFError, BrokenPipeError) as error:
                why = self._ended(process)
                if (
                    last or process.returncode != -signal.SIGKILL
                ):  # somebody from outside, who may not have meant this page
                    raise PageFailed(why) from error
        raise AssertionError("unreachable")

    def _asked(self, process: "subprocess.Popen[bytes]", head: bytes, page: bytes) -> PageText:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(head)
        process.stdin.write(page)
        process.stdin.flush()
        kind, named, size = ANSWER.unpack(exactly(process.stdout, ANSWER.size))
        if kind == LONG:
            raise PageFailed(f"a text of {size} bytes, more than `spec.curation.limits.documentBytes`")
        read_as = exactly(process.stdout, named).decode()
        return PageText(exactly(process.stdout, size).decode(), read_as)

    def _start(self) -> "subprocess.Popen[bytes]":
        limits = [str(self._limits.seconds), str(self._longest), *([COMMENTS] if self._limits.comments else [])]
        command = [sys.executable, "-m", __name__, *limits]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        _widen(process.stdin)
        _widen(process.stdout)
        if process.stdout.read(1) != READY:
            self.close()
            raise RuntimeError(f"the process for pages does not start: exit code {process.returncode}")
        return process

    def _ended(self, process: "subprocess.Popen[bytes]") -> str:
        """Why a process is gone."""
        self.close()
        code = process.returncode
        if code in (-signal.SIGPROF, -signal.SIGALRM):
            return f"no text after {self._limits.seconds:g} s (`spec.curation.limits.pageSeconds`)"
        return f"the parser ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


@cache
def pages_of(limits: PageLimits, longest: int) -> Pages:
    """One a process of ours, until that ends."""
    pages = Pages(limits, longest)
    atexit.register(pages.close)
    return pages


def _widen(pipe: IO[bytes]) -> None:
    """A pipe that holds a page spares both sides waiting for each other; the kernel may not grant it."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


def exactly(stream: IO[bytes], size: int) -> bytes:
    """So many bytes; raises EOFError if there are fewer."""
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def share_data_limit() -> None:
    """Where the private memory of who asks is bounded by the kernel, as in preflight, this process has a part of that."""
    asking, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if asking != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_DATA, (asking // DATA_PART, hard))


def serve(seconds: float, longest: int, comments: bool) -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for ending in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(ending, signal.SIG_DFL)
    most = OWN_BYTES + BYTES_PER_BYTE * longest
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    share_data_limit()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    with open(os.devnull, "wb") as nothing:
        os.dup2(
            nothing.fileno(), sys.stderr.fileno()
        )  # a parser that runs out of memory tells of it in 50 lines a page
    answers.write(READY)
    answers.flush()
    while head := asked.read(REQUEST.size):
        size, charset, domain = REQUEST.unpack(head)
        charset, domain = (
            exactly(asked, charset).decode(errors="ignore"),
            exactly(asked, domain).decode(errors="ignore"),
        )
        page = exactly(asked, size)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, WALL_FACTOR * seconds + WALL_SECONDS)
        found = characters_of(page, charset, domain)
        text, read_as = main_text(found.text, comments).encode(errors="replace"), found.codec.encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        kind, shown = (LONG, b"") if len(text) > longest else (TEXT, read_as + text)
        answers.write(ANSWER.pack(kind, len(read_as) if shown else 0, len(text)) + shown)
        answers.flush()


if __name__ == "__main__":
    serve(float(sys.argv[1]), int(sys.argv[2]), COMMENTS in sys.argv[3:])
