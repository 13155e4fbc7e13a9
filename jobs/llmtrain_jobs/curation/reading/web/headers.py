"""Header lines, as WARC and HTTP have them."""

import re
from dataclasses import dataclass

BLANK_LINE = re.compile(rb"\n\r?\n")
"""Ends a header, whether its lines end with CRLF or LF."""
FOLD = re.compile(r"\r?\n[ \t]+")
LONGEST = 1 << 18
"""Bytes of a header; what goes on longer is none."""


@dataclass(frozen=True)
class Headers:
    """Pairs of a name in lower case and a value, in order."""

    pairs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """The first value; empty if there is none."""
        for key, value in self.pairs:
            if key == name:
                return value
        return ""

    def all(self, name: str) -> list[str]:
        """Every value."""
        return [value for key, value in self.pairs if key == name]

    def tokens(self, name: str) -> list[str]:
        """Members of a list, in lower case, without parameters."""
        members = (member for value in self.all(name) for member in value.split(","))
        found = (member.split(";")[0].strip(" \t\"'").lower() for member in members)
        return [token for token in found if token]


NONE = Headers()


def headers_of(data: bytes) -> Headers:
    """From lines; a line that begins with a blank goes on with the one before, one without a colon is passed over."""
    text = FOLD.sub(" ", text_of(data.strip(b"\r\n")))
    parts = (line.partition(":") for line in text.split("\n"))
    return Headers(tuple((name.strip().lower(), value.strip()) for name, colon, value in parts if colon))


def text_of(data: bytes) -> str:
    """UTF-8 as WARC has it, Latin-1 as HTTP had it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
