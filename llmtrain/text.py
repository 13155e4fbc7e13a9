"""Text of others, made safe to show: one line of bounded length that no terminal, page or log reads as a command.

What a pod, a manifest or a file in storage says may hold escape sequences that retitle a terminal or clear it, line
breaks that forge a log line, and marks that turn the order of what is read around. Everything that is shown passes here.
"""

import re
import unicodedata
from html import escape

LONGEST = 1024
"""Characters, where nobody says otherwise: a message of a status."""
CUT = "…"
KEPT = "\u200c\u200d"
"""Joiners, without which Persian and emoji fall apart; they move nothing."""
ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, clear
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC and its like: titles, links
    r"|\x1b[ -/]*[0-~]?"
)


def plain(text: str, limit: int = LONGEST) -> str:
    """The text as one line of at most `limit` characters, without control characters and without invisible marks.

    Escape sequences go whole, line breaks and tabs become spaces, what cannot be shown becomes U+FFFD, and a text that was
    cut ends in an ellipsis.
    """
    if len(text) > 4 * limit:
        text = text[: 4 * limit] + CUT  # so much at the most is looked at, whatever somebody sends
    if not text.isprintable():
        text = "".join(map(_shown, ESCAPE_SEQUENCE.sub("", text)))
    return text if len(text) <= limit else text[: max(0, limit - len(CUT))] + CUT[:limit]


def lines(text: str, limit: int = 10 * LONGEST) -> str:
    """The same of a text of several lines, which stay; `limit` is that of each."""
    return "\n".join(plain(line, limit) for line in text.split("\n"))


def escaped(text: str) -> str:
    """The same for a page: no mark of HTML is one either."""
    return escape(lines(text))


def _shown(character: str) -> str:
    if character.isprintable() or character in KEPT:
        return character
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category == "Cc" else "\ufffd"
