"""Replace personal data by its type, and count it. Nothing that could lead back is kept."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from llmtrain.api.curation import PiiType
from llmtrain_jobs.curation.pii.patterns import FINDERS, WITHOUT_DIGITS, Span

PLACEHOLDERS = {
    PiiType.EMAIL: "[EMAIL]", PiiType.PHONE: "[PHONE]", PiiType.IP_ADDRESS: "[IP_ADDRESS]", PiiType.IBAN: "[IBAN]",
    PiiType.PAYMENT_CARD: "[PAYMENT_CARD]", PiiType.NATIONAL_ID: "[NATIONAL_ID]", PiiType.SECRET: "[SECRET]",
}  # fmt: skip
_FOUR_DIGITS = re.compile(r"\d(?:\D{0,2}\d){3}|:[0-9A-Fa-f]*:")


@dataclass(frozen=True)
class Found:
    """One finding."""

    kind: PiiType
    start: int
    end: int


def find(text: str, kinds: Sequence[PiiType]) -> list[Found]:
    """Findings in order of place; none overlap."""
    numbers = _FOUR_DIGITS.search(text) is not None
    taken: list[Found] = []
    for kind, finder in FINDERS.items():
        if kind in kinds and (numbers or kind in WITHOUT_DIGITS):
            ends = [other.end for other in taken]
            taken += [Found(kind, *span) for span in finder(text) if not _overlaps(taken, ends, span)]
            taken = _distinct(taken)
    return taken


def _overlaps(taken: list[Found], ends: list[int], span: Span) -> bool:
    place = bisect_right(ends, span[0])
    return place < len(taken) and taken[place].start < span[1]


def _distinct(findings: list[Found]) -> list[Found]:
    """In order of place, of two that overlap the first and longer."""
    kept: list[Found] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end)):
        if not kept or finding.start >= kept[-1].end:
            kept.append(finding)
    return kept


def replaced(text: str, findings: Sequence[Found]) -> str:
    """The text with placeholders."""
    parts, position = [], 0
    for finding in findings:
        parts += [text[position : finding.start], PLACEHOLDERS[finding.kind]]
        position = finding.end
    return "".join([*parts, text[position:]])
