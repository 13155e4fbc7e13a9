"""Values of a JSON text that is no lines: the elements of an array, objects that go over several lines."""

import json
import re
from typing import IO

BLOCK = 1 << 20
DECODER = json.JSONDecoder()
BOM = b"\xef\xbb\xbf"
GAP = re.compile(rb"[\s,]*")
BRACKET = re.compile(rb'["\[\]{}]')
IN_STRING = re.compile(rb'["\\\n]')
SCALAR_END = re.compile(rb'[\s,"\[\]{}]')
DEEPEST = 2000
"""Brackets whose kinds are held; no parser goes deeper, and to look through more for each that closes would take for ever."""
WHITE_SPACE = 256
"""Bytes of it that are looked over between a comma and what follows."""
OPENS = {b"}": b"{", b"]": b"["}


def is_values(head: bytes) -> bool:
    """Whether a text that begins so has to be read value by value.

    It is an array, objects that begin with a line of their own, or objects one after the other in one line.
    """
    first, line_feed, _ = head.removeprefix(BOM).lstrip().partition(b"\n")
    if first.startswith(b"[") or not first.startswith(b"{"):
        return first.startswith(b"[")
    if first.strip() == b"{":
        return bool(line_feed)
    text = first.decode(errors="replace")
    try:
        end = DECODER.raw_decode(text)[1]
    except (ValueError, RecursionError):
        return False
    return text[end:].lstrip().startswith("{")


class Values:
    """Iterates (number, bytes of the value, value); one over the limit comes as None, never whole in memory.

    Only brackets and strings are looked at, so that a value that is no JSON costs itself alone: a bracket closes all
    that was opened since its own, an object whose own is missing ends before the next, and a string, which may hold no
    line feed, ends with the line.
    """

    def __init__(self, stream: IO[bytes], longest: int) -> None:
        """`longest`: bytes of a value that is returned."""
        self._stream, self._longest = stream, longest
        self._held, self._at, self._number = b"", 0, 0
        self.within = False
        """Whether an array is open; at the end it ought not to be."""
        self._between = 0

    def take_between(self) -> int:
        """Bytes since it was last asked that belong to no value: brackets of arrays, commas, white space."""
        size, self._between = self._between, 0
        return size

    def next(self) -> tuple[int, int, bytes | None] | None:
        """The next value; None at the end."""
        if not self._find():
            return None
        self._number += 1
        dropped = 0
        scan = _Scan()
        while (end := scan.end_in(self._held, self._at)) is None:
            if len(self._held) - self._at > self._longest:
                dropped += len(self._held) - self._at
                self._held, self._at, scan.place = b"", 0, 0
            if not self._fill(scan):
                end = len(self._held)
                break
        content = self._held[self._at : end]
        self._at = end
        size = dropped + len(content)
        return self._number, size, content if size <= self._longest else None

    def _find(self) -> bool:
        """To the first byte of a value; whether there is one."""
        while True:
            self._pass_to(_end_of(GAP, self._held, self._at))
            if self._at == len(self._held):
                if not self._fill():
                    return False
                if not self._number and self._held.startswith(BOM):
                    self._pass_to(len(BOM))
                continue
            if self._held[self._at : self._at + 1] != (b"]" if self.within else b"["):
                return True
            self.within = not self.within
            self._pass_to(self._at + 1)

    def _pass_to(self, end: int) -> None:
        self._between += end - self._at
        self._at = end

    def _fill(self, scan: "_Scan | None" = None) -> bool:
        """More bytes, as many again as are held, so that what is copied stays linear."""
        more = self._stream.read(max(BLOCK, len(self._held) - self._at))
        if scan is not None:
            scan.place -= self._at
        self._held, self._at = self._held[self._at :] + more, 0
        return bool(more)


def _end_of(pattern: re.Pattern[bytes], held: bytes, at: int) -> int:
    found = pattern.match(held, at)
    return found.end() if found else at


class _Scan:
    """The search for the end of one value over bytes that come piece by piece."""

    def __init__(self) -> None:
        """Before the value's first byte."""
        self.place = -1
        self._open, self._deeper = bytearray(), 0
        self._string = self._scalar = False

    def end_in(self, held: bytes, start: int) -> int | None:
        """Where the value that begins at `start` ends; None: further than `held`."""
        if self.place < 0:
            self.place = start
            self._scalar = held[start] not in b'"[{'
            if held[start] in b"]}":  # closes nothing: a value by itself, which is no JSON
                return start + 1
        if self._scalar:
            found = SCALAR_END.search(held, self.place)
            self.place = len(held)
            return found.start() if found else None
        while found := (IN_STRING if self._string else BRACKET).search(held, self.place):
            byte = found[0]
            self.place = found.end()
            if byte == b"\\":
                if self.place == len(held):
                    self.place -= 1
                    return None
                self.place += held[self.place : self.place + 1] != b"\n"
            elif byte == b"{" and (comma := self._unclosed(held, start)):
                return comma
            elif self._step(byte):
                return self.place
        self.place = len(held)
        return None

    def _unclosed(self, held: bytes, start: int) -> int:
        """Where an object ends whose bracket is missing: behind a comma it can have a name, never a value. 0: nowhere."""
        begin = max(start, self.place - 1 - WHITE_SPACE)
        before = held[begin : self.place - 1].rstrip()
        return begin + len(before) - 1 if self._open[-1:] == b"{" and before.endswith(b",") else 0

    def _step(self, byte: bytes) -> bool:
        """Take in a byte that means something; whether the value ends with it."""
        if self._string:
            self._string = False
        elif byte == b'"':
            self._string = True
            return False
        elif byte not in OPENS:
            self._deeper += len(self._open) >= DEEPEST
            self._open += b"" if self._deeper else byte
        elif self._deeper:
            self._deeper -= 1
        elif (place := self._open.rfind(OPENS[byte])) >= 0:
            del self._open[place:]
        return not self._open
