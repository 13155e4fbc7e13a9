"""Replace personal data by its type, and count it. Nothing that could lead back is kept."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from llmtrain.api.curation import PiiType
from llmtrain_jobs.curation.pii.finders import FINDERS, WITHOUT_DIGITS
from llmtrain_jobs.curation.pii.text import Span, Text, plain

PLACEHOLDERS = {
    PiiType.EMAIL: "[EMAIL]", PiiType.PHONE: "[PHONE]", PiiType.IP_ADDRESS: "[IP_ADDRESS]", PiiType.IBAN: "[IBAN]",
    PiiType.PAYMENT_CARD: "[PAYMENT_CARD]", PiiType.NATIONAL_ID: "[NATIONAL_ID]", PiiType.SECRET: "[SECRET]",
}  # fmt: skip
_WITHOUT_DIGITS = ("iscal", "ISCAL")
"""Of the word before an Italian number whose every digit became a letter."""
_FOUR_DIGITS = re.compile(r"\d(?:\D{0,4}\d){3}|:[0-9A-Fa-f]*:")


class Found(NamedTuple):
    """One finding."""

    kind: PiiType
    start: int
    end: int


def find(text: str, kinds: Sequence[PiiType]) -> list[Found]:
    """Findings in order of place; none overlap."""
    whole = Text(plain(text))
    numbers = _FOUR_DIGITS.search(text) is not None or any(word in text for word in _WITHOUT_DIGITS)
    taken: list[tuple[int, int, PiiType]] = []
    for kind, finder in FINDERS.items():
        if kind in kinds and (numbers or kind in WITHOUT_DIGITS):
            found = _distinct(finder(whole))
            if taken and found:
                ends = [end for _, end, _ in taken]
                found = [span for span in found if not _overlaps(taken, ends, span)]
            taken = sorted(taken + [(start, end, kind) for start, end in found])
    return [Found(kind, start, end) for start, end, kind in taken]


def _overlaps(taken: list[tuple[int, int, PiiType]], ends: list[int], span: Span) -> bool:
    place = bisect_right(ends, span[0])
    return place < len(taken) and taken[place][0] < span[1]


def _distinct(spans: Iterable[Span]) -> list[Span]:
    """In order of place, of two that overlap the first and longer."""
    kept: list[Span] = []
    last = (0, 0)
    for span in sorted(spans):
        if span[0] >= last[1]:
            kept.append(span)
            last = span
        elif span[0] == last[0]:
            kept[-1] = last = span
    return kept


def replaced(text: str, findings: Sequence[Found]) -> str:
    """The text with placeholders."""
    parts, position = [], 0
    for finding in findings:
        parts += [text[position : finding.start], PLACEHOLDERS[finding.kind]]
        position = finding.end
    return "".join([*parts, text[position:]])
