"""A text as the patterns see it, and where in it numbers stand."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

Span = tuple[int, int]
CONTEXT = 60
"""Characters before and behind a finding in which a word may say what it is."""
COMMON = dict.fromkeys("\u00a0\u2007\u2009\u202f\u3000", " ") | dict.fromkeys("\u2010\u2011\uff0d", "-")
COMMON |= dict(zip("＠．＋０１２３４５６７８９", "@.+0123456789", strict=True))
DENSE = re.compile(r"\d[\d ().:\-/]{4}", re.ASCII)
"""Stands in every number that is looked for."""
WORD = re.compile(r"[^\W\d_]+|§")
NEAR = 30
MARKS = " :#.="
NO_DIGITS = {code: None for code in range(128) if not chr(code).isdecimal()}
LINK = re.compile(r"://[^\s<>\"'\])]*+")


def plain(text: str) -> str:
    """The text with common characters for no-break and full-width ones; of the same length."""
    if not text.isascii():
        for odd, common in COMMON.items():
            text = text.replace(odd, common)
    return text


@dataclass(frozen=True)
class Text:
    """`plain`: of the same length as the original, so that places are places there."""

    plain: str

    @cached_property
    def is_dense(self) -> bool:
        """Whether digits stand so close anywhere that they may be a number."""
        return DENSE.search(self.plain) is not None

    @cached_property
    def _lower(self) -> str:
        return self.plain.lower()

    def names_any(self, words: Iterable[str]) -> bool:
        """Whether one of these stands anywhere, within a word too."""
        return any(word in self._lower for word in words)

    @cached_property
    def links(self) -> list[Span]:
        """URLs from their colon on."""
        return [found.span() for found in LINK.finditer(self.plain)] if "://" in self.plain else []

    def numbers(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Matches; none where no number can be."""
        return pattern.finditer(self.plain) if self.is_dense else iter(())

    def before(self, start: int) -> str:
        """What stands before, in small letters."""
        return self.plain[max(0, start - CONTEXT) : start].lower()

    def behind(self, end: int) -> str:
        """What stands behind, in small letters."""
        return self.plain[end : end + CONTEXT].lower()

    def around(self, start: int, end: int) -> str:
        """It and what stands on both sides, in small letters."""
        return self.plain[max(0, start - CONTEXT) : end + CONTEXT].lower()


def holds(text: str, word: str) -> bool:
    """Whether a word stands in a text with no letter beside it."""
    at = text.find(word)
    while at >= 0:
        behind = at + len(word)
        if not text[at - 1 : at].isalpha() and not text[behind : behind + 1].isalpha():
            return True
        at = text.find(word, behind)
    return False


def ending(before: str) -> list[str]:
    """The last two words, where nothing but marks follows them."""
    head = before.rstrip(MARKS)
    return WORD.findall(head[-NEAR:])[-2:] if head[-1:].isalpha() or head.endswith("§") else []


def outside(spans: Iterator[Span], links: list[Span]) -> Iterator[Span]:
    """Without those that begin in a link; both in order of place."""
    return _outside(spans, links) if links else spans


def _outside(spans: Iterator[Span], links: list[Span]) -> Iterator[Span]:
    at = 0
    for span in spans:
        while at < len(links) and links[at][1] <= span[0]:
            at += 1
        if not (at < len(links) and links[at][0] < span[0]):
            yield span


def words(written: str) -> frozenset[str]:
    """Of a text with blanks between them."""
    return frozenset(written.split())


def digits_of(text: str) -> str:
    """The digits of a text in ASCII."""
    return text.translate(NO_DIGITS)


THINGS = words(
    "part item model order ref reference serial sku catalog catalogue product invoice ticket gauge isbn issn doi patent"
    " version article batch lot clause section"
)
NUMBER = words("no nr num number code id")
THINGS_AND_NUMBER = (*THINGS, *NUMBER)


def is_of_a_thing(before: str) -> bool:
    """Whether the words before a number say that it is one of a thing: part no."""
    head = before.rstrip(MARKS)
    if not head.endswith(THINGS_AND_NUMBER):
        return False
    last = ending(head)
    return last[-1] in THINGS or (last[-1] in NUMBER and last[0] in THINGS)
