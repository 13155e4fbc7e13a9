"""A text as an array of code points, and what kinds of characters there are."""

import re
import sys
import unicodedata
from functools import cache

import numpy as np
import regex
from numpy.typing import NDArray

from llmtrain_jobs.curation.signals.compiled import compiled

(SPACE, ALPHANUMERIC, ALPHABETIC, LOWER, UPPER, LONE, BREAK, TERMINAL, STOP, CLOSER, MARK, UNSEEN, COMBINING) = (
    1 << bit for bit in range(13)
)
"""Kinds. LONE: of a script without spaces, a word of its own. BREAK: ends a line for `str.splitlines`. TERMINAL: ends a
sentence in some script (Unicode's Sentence_Terminal, as FineWeb). STOP, CLOSER: ends a sentence, may follow its end.
MARK: belongs to the character before it: vowel signs, viramas, tones, accents, harakat. UNSEEN: changes how its neighbours
look or break, not what they say: joiners, soft hyphens, variation selectors. COMBINING:
has its place among the marks of a letter, which NFC sorts."""

SCRIPTS_WITHOUT_SPACES = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF))  # fmt: skip
BREAKS, STOPS, CLOSERS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", ".!?。！？", "\"'”’)]"
END = 0x40000
"""No character at or above it is of any kind."""


Codes = NDArray[np.uint32]
Kinds = NDArray[np.uint16]
MOST_MARKS = 30
"""Marks in a row that are brought into order, as in Unicode's stream-safe format (Annex 15): more are no writing, and
`unicodedata.normalize` takes the square of their number."""


def composed(text: str) -> str:
    """NFC; a run of more than 30 marks in stretches of 30."""
    if text.isascii() or longest_marks(codes_of(text), kinds_for(text)) <= MOST_MARKS:
        return unicodedata.normalize("NFC", text)
    pieces, start = [], 0
    for run in _many_marks().finditer(text):
        pieces.append(unicodedata.normalize("NFC", text[start : run.end()]))
        start = run.end()
    return "".join([*pieces, unicodedata.normalize("NFC", text[start:])])


@compiled
def longest_marks(codes: Codes, kinds: Kinds) -> int:
    """Length of the longest run of marks."""
    longest, run = 0, 0
    for code in codes:
        run = run + 1 if code < len(kinds) and kinds[code] & COMBINING else 0
        longest = max(longest, run)
    return longest


@cache
def _many_marks() -> re.Pattern[str]:
    marks = "".join(character for character in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(character))
    return re.compile(f"[{marks}]{{{MOST_MARKS}}}")


def codes_of(text: str) -> Codes:
    """Code points: (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def kinds_of(text: str) -> Kinds:
    """Kinds of every character: (characters,)."""
    return kinds_for(text)[np.minimum(codes_of(text), END - 1)]


def kinds_for(text: str) -> Kinds:
    """Kinds by code point, as far as the text may need them."""
    return _kinds(128 if text.isascii() else END)


@cache
def _kinds(end: int) -> Kinds:
    every = "".join(map(chr, range(end)))
    kinds = np.zeros(end, dtype=np.uint16)
    letters = ((ALPHABETIC, str.isalpha), (LOWER, str.islower), (UPPER, str.isupper))
    for kind, holds in ((SPACE, str.isspace), (ALPHANUMERIC, str.isalnum), *letters):
        kinds |= np.fromiter(map(holds, every), dtype=np.uint16, count=end) * np.uint16(kind)
    for first, last in SCRIPTS_WITHOUT_SPACES:
        kinds[first : last + 1] |= LONE
    unseen = set(regex.findall(r"[\p{Default_Ignorable_Code_Point}--[\p{L}\u200b]]", every, regex.VERSION1))
    marks = {character for character in every if unicodedata.category(character)[0] == "M"} - unseen
    combining = set(filter(unicodedata.combining, every))
    belonging = [ord(character) for character in marks | unseen]
    kinds[belonging] &= ~np.uint16(LONE | ALPHANUMERIC)
    terminals = "".join(regex.findall(r"\p{Sentence_Terminal}", every))
    for kind, characters in (
        (BREAK, BREAKS),
        (TERMINAL, terminals),
        (STOP, STOPS),
        (CLOSER, CLOSERS),
        (MARK, marks),
        (UNSEEN, unseen),
        (COMBINING, combining),
    ):
        kinds[[ord(character) for character in characters if ord(character) < end]] |= kind
    return kinds
