"""Line rules: C4's (Raffel et al. 2020, as in datatrove) and RefinedWeb's (Penedo et al. 2023, G.2, as in DCLM)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from llmtrain.api.curation import Edit
from llmtrain_jobs.curation.signals.characters import composed

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
C4_END = (".", "?", "!", '"', "'")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
LONGEST_WORD, FEWEST_WORDS = 1000, 3
COUNTER = re.compile(r"^\W*+\d++(?:[.,]\d++)*+(?:\s++(?:[kKmM]\s++)?|[kKmM]\s++)(?:likes?|shares?|comments?|retweets?|reposts?|quotes?|bookmarks?|upvotes?|downvotes?|downloads?|views?|followers?)\W*+$")  # fmt: skip
WITHOUT_LETTERS, DIGIT = re.compile(r"[\d\W_]*+"), re.compile(r"\d")
CALLS = re.compile(r"^\s*sign-?in\s*|(?:(?<!\s)\s++)?(?:read more\.{3}\s*$|items in cart\s*)", re.IGNORECASE)
"""Every pattern here takes time in proportion to its line: a run of blanks or digits is walked through once."""
MOST_WORDS_OF_A_CALL = 10
MOST_UPPER_CASE = 0.5
CONTROLS = dict.fromkeys([*(c for c in range(32) if chr(c) not in "\t\n\r\f"), 127, 0xFEFF])
LONE_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Edited:
    """A text after its edits, and the share of its words that they removed."""

    text: str
    removed_word_share: float


def clean(text: str) -> str:
    """NFC, line ends as newlines, no control characters, no halves of surrogate pairs."""
    if not text.isascii():
        text = composed(LONE_SURROGATES.sub("", text))
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.translate(CONTROLS) if not text.isprintable() and _has_controls(text) else text


_CONTROL = re.compile("[" + "".join(re.escape(chr(c)) for c in CONTROLS) + "]")


def _has_controls(text: str) -> bool:
    return _CONTROL.search(text) is not None


def edit(text: str, edits: list[Edit]) -> Edited:
    """Apply line rules in order."""
    if not edits:
        return Edited(text, 0.0)
    before = len(text.split())
    for name in edits:
        text = "\n".join(line for raw in text.split("\n") if (line := RULES[name](raw)) is not None).strip("\n")
    return Edited(text, (before - len(text.split())) / before if before else 0.0)


def c4_line(raw: str) -> str | None:
    """The line without citations, or None if C4 drops it."""
    line = raw.strip()
    words = line.split()
    if len(line) > LONGEST_WORD and any(len(word) > LONGEST_WORD for word in words):
        return None
    line = CITATION.sub("", line)
    if not line.endswith(C4_END) or line.endswith("..."):
        return None
    lower = line.lower()
    if len(words) < FEWEST_WORDS or "javascript" in lower or any(phrase in lower for phrase in POLICY):
        return None
    return line


def refined_web_line(raw: str) -> str | None:
    """The line without calls to action, or None if RefinedWeb drops it. Empty lines part paragraphs and stay."""
    line = raw.strip()
    if not line:
        return raw
    words = line.split()
    if len(words) < 2 or _numeric(line) or COUNTER.match(line):
        return None
    if sum(map(str.isupper, line)) > MOST_UPPER_CASE * len(line):
        return None
    if len(words) <= MOST_WORDS_OF_A_CALL and CALLS.search(line):
        return CALLS.sub("", line) or None
    return raw


def _numeric(line: str) -> bool:
    return WITHOUT_LETTERS.fullmatch(line) is not None and DIGIT.search(line) is not None


RULES: dict[Edit, Callable[[str], str | None]] = {
    Edit.C4_LINES: c4_line,
    Edit.REFINED_WEB_LINES: refined_web_line,
}
