"""Records of a web archive: WARC 0.17 to 1.1 and ARC 1, whole, damaged or with a wrong length. None is lost silently.

A record's length is believed where the next record, or the end, follows it. Where it does not, this record is bad and the
next header that stands in its bytes is the next record.
"""

import re
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedIOBase, RawIOBase

from llmtrain_jobs.curation.reading.web.headers import BLANK_LINE, LONGEST, NONE, Headers, headers_of, text_of
from llmtrain_jobs.curation.reading.web.tape import Break, Tape

WARC = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n[A-Za-z-]{1,40}[ \t]*:")
ARC = re.compile(
    rb"[a-z][a-z0-9+.-]{1,30}:[^\r\n]{0,8192} [^ \r\n]{1,64} \d{12,20} [^ \r\n]{1,200} [^ \r\n]{1,20}\r?\n"
)
ARC_FILE, LINE_END = re.compile(rb"filedesc:"), re.compile(rb"\n")
LENGTH = re.compile(r"[0-9]{1,18}")
SOMETHING = re.compile(rb"[^\r\n\0 \t]")
"""What does not stand between two records: two line ends should, padding may."""
OVERLAP = 1 << 14
"""Longer than a line that a header is known by."""
STEP = 1 << 20
KEPT = 1 << 23
"""Bytes of a record that are still held when its end is reached."""
VAIN = 1 << 28
"""Bytes that may be read for lengths that turn out wrong; from then on a record ends at the next header."""


@dataclass(frozen=True)
class Entry:
    """One record. `size`: its bytes with header and end; `block`: its content, at most as much as was asked for."""

    number: int
    size: int
    kind: str = ""
    headers: Headers = NONE
    block: bytes = b""
    length: int = 0
    problem: str = ""
    fatal: bool = False


@dataclass(frozen=True)
class Head:
    """A record's header. `block`: where its content begins; `end`: behind it, if the header is right."""

    kind: str
    headers: Headers
    block: int
    end: int


class Archive:
    """Iterates the records of a file."""

    def __init__(self, raw: RawIOBase | BufferedIOBase, most: int) -> None:
        """`most`: bytes of a record's content that are wanted."""
        self._tape, self._most = Tape(raw), most
        self._at, self._number, self._vain = 0, 0, 0
        self._told: Entry | None = None
        self._tape.upto(OVERLAP)
        self._mark = len(BOM_UTF8) if self._tape.cut(0, len(BOM_UTF8)) == BOM_UTF8 else 0
        self._is_arc = self._tape.at(ARC_FILE, self._mark)
        self._pattern = ARC if self._is_arc else WARC
        self._line = re.compile(rb"(?<=\n)" + self._pattern.pattern)
        end = LINE_END if self._is_arc else BLANK_LINE
        self._header_end = re.compile(end.pattern + rb"|(?<=\n)" + self._pattern.pattern)

    def __iter__(self) -> Iterator[Entry]:
        """In order. A file without one good record is damaged as a whole: its last entry says so."""
        last, good = None, False
        while (entry := self._next()) is not None:
            if last is not None:
                yield last
            last, good = entry, good or not entry.problem
        if last is not None:
            yield (
                last if good else replace(last, problem=f"damaged file: no record is whole: {last.problem}", fatal=True)
            )

    def _next(self) -> Entry | None:
        """The record at hand, or what stands in its place."""
        if self._told is not None:
            told, self._told = self._told, None
            return told
        begin = self._past(self._at or self._mark)
        broken = self._tape.break_at_or_after(self._at)
        if broken is not None and broken.position <= begin:
            return self._broken(broken)
        if self._tape.upto(begin + 1) == begin:
            return self._entry(begin, kind="blank") if begin > self._at else None
        head = self._head(begin)
        if isinstance(head, Head):
            return self._record(head)
        return self._up_to(self._header_after(begin + 1), head)

    def _past(self, position: int) -> int:
        """Behind blanks, at most at the next break."""
        while True:
            reached = self._tape.upto(position + OVERLAP)
            found = self._tape.find(SOMETHING, position, reached)
            end = found[0] if found else reached
            broken = self._tape.break_at_or_after(position)
            if broken is not None and broken.position <= end:
                return broken.position
            if found or reached == position:
                return end
            position = reached
            self._tape.drop(position - OVERLAP)

    def _head(self, begin: int) -> Head | str:
        """The header there, or why there is none."""
        nothing = f"no record begins at byte {begin} of the uncompressed file"
        if not self._tape.at(self._pattern, begin):
            return nothing
        for size in (OVERLAP, LONGEST):
            reached = self._tape.upto(begin + size)
            found = self._tape.find(self._header_end, begin + 1, self._stop(begin + 1, reached))
            if found and self._tape.cut(found[1] - 1, found[1]) == b"\n":
                return (arc_head if self._is_arc else warc_head)(self._tape.cut(begin, found[1]), found[1])
            if found:
                break
        return f"the record's header at byte {begin} of the uncompressed file has no end"

    def _record(self, head: Head) -> Entry:
        """A record whose length holds, or a bad one."""
        reached, content = self._believed(head) if self._vain > VAIN else self._walk(head)
        behind = self._past(reached) if reached == head.end else reached
        broken = self._tape.break_at_or_after(head.block)
        if broken and broken.position <= behind and (broken.position < head.end or broken.since < broken.position):
            return self._cut(head, content, self._broken(broken)) if broken.cut else self._broken(broken)
        if reached == head.end and self._follows(head, behind):
            return self._entry(behind, head.kind, head.headers, content, head.end - head.block)
        return self._wrong(head, reached, content)

    def _walk(self, head: Head) -> tuple[int, bytes]:
        """How far a record's content goes, and what is wanted of it.

        It goes to its end, or to where the tape ends or breaks or another member begins with a record.
        """
        at, content, wanted = head.block, b"", min(head.end, head.block + self._most)
        while True:
            reached = self._tape.upto(min(at + STEP, head.end))
            if at < wanted:
                content += self._tape.cut(at, min(reached, wanted))
            stop = min(self._stop(head.block, head.end), reached)
            if stop < reached or reached == head.end or reached == at:
                return stop, content[: stop - head.block]
            at = reached
            self._tape.drop(at - KEPT)

    def _stop(self, start: int, end: int) -> int:
        """The first place from `start` on where the tape breaks or another member begins with a record, at most `end`."""
        broken, member = self._tape.break_at_or_after(start), self._tape.member_after(start - 1)
        return min([end, *([broken.position] if broken else []), *([member] if member is not None else [])])

    def _believed(self, head: Head) -> tuple[int, bytes]:
        """The same without belief in lengths: the content ends at the next header, if its length does not end it before."""
        reached = self._tape.upto(min(head.end, head.block + self._most))
        found = self._tape.find(self._line, head.block, self._tape.upto(reached + OVERLAP))
        stop = self._stop(head.block, min(found[0], reached) if found else reached)
        content = self._tape.cut(head.block, stop)
        return stop if stop < reached else self._header_after(reached, head.end), content

    def _follows(self, head: Head, behind: int) -> bool:
        """Whether a record ends where its header says: two line ends, the next record or nothing come after it."""
        if not self._is_arc and self._tape.cut(head.end, head.end + 4) == b"\r\n\r\n":
            return True
        ends = self._tape.upto(behind + 1) == behind or self._tape.member_after(behind - 1) == behind
        return ends or self._tape.at(self._pattern, behind)

    def _wrong(self, head: Head, reached: int, content: bytes) -> Entry:
        """The record's length is wrong, or the file ends within it."""
        since = head.block if self._vain <= VAIN else reached
        self._vain += reached - head.block
        following = self._header_after(since)
        tape, length = self._tape, head.end - head.block
        cut = reached < head.end and not tape.compressed and tape.upto(following + 1) == following
        if cut and tape.cut(following - 4, following) != b"\r\n\r\n":
            problem = f"a record of {length} bytes ends after {reached - head.block}"
            return self._cut(head, content, self._bad(following, problem, fatal=True))
        return self._up_to(following, f"the record does not end after the {length} bytes that its header says")

    def _cut(self, head: Head, content: bytes, end: Entry) -> Entry:
        """What there is of a record that the file ends in; that it does is told by an entry without bytes behind it."""
        self._number += 1
        self._told = replace(end, number=self._number, size=0)
        return Entry(end.number, end.size, head.kind, head.headers, content, len(content))

    def _header_after(self, position: int, limit: int = sys.maxsize) -> int:
        """Where the next header stands, the tape breaks or another member begins; else the limit or the tape's end."""
        self._vain += self._tape.back(position - 1)
        at = position
        while True:
            reached = self._tape.upto(min(at + STEP, limit))
            found = self._tape.find(self._line, at, self._tape.upto(reached + OVERLAP))
            stop = self._stop(position, min(found[0], reached) if found else reached)
            if stop < reached or reached < at + STEP:
                return stop
            at = reached
            self._tape.drop(at - OVERLAP)

    def _up_to(self, end: int, problem: str) -> Entry:
        """A bad record up to `end`. If its member is damaged, that is why."""
        broken = self._tape.break_at_or_after(self._at)
        if broken and broken.position <= end and broken.since < broken.position:
            return self._broken(broken)
        return self._bad(end, problem)

    def _broken(self, broken: Break) -> Entry:
        """What a damaged member leaves. Of one that held other records before, nobody knows how many were to come."""
        self._tape.passed(broken)
        fatal = broken.cut or broken.since < self._at < broken.position
        return self._bad(broken.position, f"damaged compressed data: {broken.reason}", fatal)

    def _bad(self, end: int, problem: str, fatal: bool = False) -> Entry:
        self._number += 1
        size, self._at = end - self._at, end
        self._tape.settle(end)
        return Entry(self._number, size, problem=f"damaged file: {problem}" if fatal else problem, fatal=fatal)

    def _entry(self, end: int, kind: str, headers: Headers = NONE, block: bytes = b"", length: int = 0) -> Entry:
        self._number += 1
        size, self._at = end - self._at, end
        self._tape.settle(end)
        return Entry(self._number, size, kind, headers, block, length)


def warc_head(data: bytes, block: int) -> Head | str:
    """From the lines of a header, which end at `block`; or what is wrong with them."""
    headers = headers_of(data.partition(b"\n")[2])
    length = headers.get("content-length")
    if not LENGTH.fullmatch(length):
        return f"`Content-Length: {length}` is no length" if length else "no Content-Length"
    return Head(headers.get("warc-type").lower(), headers, block, block + int(length))


def arc_head(data: bytes, block: int) -> Head | str:
    """The same of ARC's one line: address, IP, date, type and length."""
    url, _, day, kind, length = text_of(data.rstrip()).rsplit(" ", 4)
    if not LENGTH.fullmatch(length):
        return f"`{length}` is no length"
    pairs = (
        ("warc-target-uri", url),
        ("warc-date", f"{day[:4]}-{day[4:6]}-{day[6:8]}"),
        ("content-type", "application/http; msgtype=response" if url.startswith("http") else kind),
    )
    record = "warcinfo" if url.startswith("filedesc:") else "response"
    return Head(record, Headers(pairs), block, block + int(length))
