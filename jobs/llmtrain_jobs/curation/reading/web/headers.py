"""Header lines, as WARC and HTTP have them."""

import re
from dataclasses import dataclass

BLANK_LINE = re.compile(rb"\n\r?\n")
"""Ends a header, whether its lines end with CRLF or LF."""
LONGEST = 1 << 18
"""Bytes of a header; what goes on longer is none."""


@dataclass(frozen=True)
class Headers:
    """Pairs of a name in lower case and a value, in order."""

    pairs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """The first value; empty if there is none."""
        return next((value for key, value in self.pairs if key == name), "")

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
    pairs: list[list[str]] = []
    for raw in data.split(b"\n"):
        line = text_of(raw.rstrip(b"\r"))
        if line[:1] in (" ", "\t"):
            if pairs:
                pairs[-1][1] += " " + line.strip()
        elif ":" in line:
            name, value = line.split(":", 1)
            pairs.append([name.strip().lower(), value.strip()])
    return Headers(tuple((name, value) for name, value in pairs))


def text_of(line: bytes) -> str:
    """UTF-8 as WARC has it, Latin-1 as HTTP had it."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
