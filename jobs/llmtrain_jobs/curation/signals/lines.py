"""Lines and sentences of a text, counted in one pass each."""

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.curation.signals.characters import (
    ALPHABETIC,
    ALPHANUMERIC,
    BREAK,
    CLOSER,
    LOWER,
    SPACE,
    STOP,
    TERMINAL,
    UPPER,
    Codes,
    Kinds,
)
from llmtrain_jobs.curation.signals.compiled import compiled
from llmtrain_jobs.curation.signals.hashing import Hashes, digest
from llmtrain_jobs.curation.signals.words import Counts, kind_of

Spans = NDArray[np.int64]
"""(parts, 2): where each starts and ends."""
SHORT_LINE = 30
NEWLINE, RETURN, DOT, ELLIPSIS, BULLET, DASH, ASTERISK, OPENING, SPACE_CODE = map(ord, "\n\r.…•-*( ")
LINES, BULLETS, TRAILING = range(3)
FILLED, TERMINALS, SHORT = range(3)
MARKED, ENDED = range(2)


@compiled
def line_counts(codes: Codes, kinds: Kinds) -> Counts:
    """Lines as `str.splitlines` has them: all, those that start with a bullet, those that end with an ellipsis."""
    counts, start = np.zeros(3, dtype=np.int64), 0
    for place in range(len(codes)):
        if kind_of(codes[place], kinds) & BREAK:
            if codes[place] == NEWLINE and place and codes[place - 1] == RETURN:
                start = place + 1
                continue
            note_line(counts, codes, kinds, start, place)
            start = place + 1
    if start < len(codes):
        note_line(counts, codes, kinds, start, len(codes))
    return counts


@compiled
def note_line(counts: Counts, codes: Codes, kinds: Kinds, start: int, end: int) -> None:
    """Count a line."""
    start, end = stripped(codes, kinds, start, end)
    counts[LINES] += 1
    if start == end:
        return
    first, last = codes[start], codes[end - 1]
    counts[BULLETS] += first in (BULLET, DASH)
    counts[TRAILING] += last == ELLIPSIS or (
        end - start >= 3 and last == DOT and codes[end - 2] == DOT and codes[end - 3] == DOT
    )


@compiled
def stripped(codes: Codes, kinds: Kinds, start: int, end: int) -> tuple[int, int]:
    """The same stretch without spaces at its ends."""
    while end > start and kind_of(codes[end - 1], kinds) & SPACE:
        end -= 1
    while start < end and kind_of(codes[start], kinds) & SPACE:
        start += 1
    return start, end


@compiled
def filled_counts(codes: Codes, kinds: Kinds, lines: Spans) -> Counts:
    """Of lines that are not blank: all, those that end a sentence, short ones."""
    counts = np.zeros(3, dtype=np.int64)
    for line in range(len(lines)):
        start, end = lines[line, 0], lines[line, 1]
        counts[FILLED] += 1
        counts[TERMINALS] += kind_of(codes[end - 1], kinds) & TERMINAL != 0
        counts[SHORT] += end - start <= SHORT_LINE
    return counts


@compiled
def mark_counts(codes: Codes, lines: Spans) -> Counts:
    """Lines whose first character is an asterisk or a dash, and those whose last one is an ellipsis."""
    counts = np.zeros(2, dtype=np.int64)
    for line in range(len(lines)):
        start, end = lines[line, 0], lines[line, 1]
        if start < end:
            counts[MARKED] += codes[start] in (ASTERISK, DASH)
            counts[ENDED] += codes[end - 1] == ELLIPSIS
    return counts


@compiled
def sentences_in(codes: Codes, kinds: Kinds, lines: Spans) -> int:
    """Sentences of lines that are not blank: what a stop ends, and what is left at the end of a line.

    A stop counts before a space, those of scripts without spaces anywhere, a full stop also between a small and a capital
    letter, and if a letter or digit came since the last one; no ellipsis does, and no abbreviation of single letters
    (`e.g.`, initials). So spaCy's tokenizer and sentencizer have it, whose sentences datatrove counts.
    """
    total = 0
    for line in range(len(lines)):
        start, end = lines[line, 0], lines[line, 1]
        place, ends, words = start, 0, False
        while place < end:
            first, wide = place, False
            while place < end and kind_of(codes[place], kinds) & STOP:
                wide |= codes[place] > 127
                place += 1
            if place == first:
                words |= kind_of(codes[place], kinds) & ALPHANUMERIC != 0
                place += 1
            elif (
                words
                and (
                    wide
                    or before_space(codes, kinds, place, end)
                    or within_camel(codes, kinds, start, first, place, end)
                )
                and not weak(codes, kinds, start, first, place)
            ):
                ends, words = ends + 1, False
        total += ends + (words or ends == 0)
    return total


@compiled
def before_space(codes: Codes, kinds: Kinds, place: int, end: int) -> bool:
    """Whether a space or the end of the line follows, quotation marks and brackets apart."""
    while place < end and kind_of(codes[place], kinds) & CLOSER:
        place += 1
    return place == end or kind_of(codes[place], kinds) & SPACE != 0


@compiled
def within_camel(codes: Codes, kinds: Kinds, start: int, first: int, place: int, end: int) -> bool:
    """Whether one full stop stands between a small letter and a capital one."""
    return (
        place - first == 1
        and codes[first] == DOT
        and start < first
        and place < end
        and kind_of(codes[first - 1], kinds) & LOWER != 0
        and kind_of(codes[place], kinds) & UPPER != 0
    )


@compiled
def weak(codes: Codes, kinds: Kinds, start: int, first: int, end: int) -> bool:
    """Whether stops from `first` to `end` are an ellipsis, or the full stop of a single letter."""
    for place in range(first, end):
        if codes[place] != DOT:
            return False
    if end - first > 1:
        return True
    if first == start or not kind_of(codes[first - 1], kinds) & ALPHABETIC:
        return False
    before = SPACE_CODE if first - 1 == start else codes[first - 2]
    return before in (DOT, OPENING) or kind_of(before, kinds) & SPACE != 0


@compiled
def parts(codes: Codes, start: int, end: int, least: int) -> Spans:
    """What runs of at least `least` newlines separate between two places; the first and the last may be empty."""
    spans = np.empty((separators(codes, start, end, least) + 1, 2), dtype=np.int64)
    part, spans[0, 0], run = 0, start, 0
    for place in range(start, end + 1):
        if place < end and codes[place] == NEWLINE:
            run += 1
            continue
        if run >= least:
            spans[part, 1] = place - run
            part += 1
            spans[part, 0] = place
        run = 0
    spans[part, 1] = end
    return spans


@compiled
def separators(codes: Codes, start: int, end: int, least: int) -> int:
    """Runs of at least `least` newlines."""
    found, run = 0, 0
    for place in range(start, end):
        run = run + 1 if codes[place] == NEWLINE else 0
        found += run == least
    return found


@compiled
def filled(codes: Codes, kinds: Kinds, spans: Spans) -> Spans:
    """Parts that are not blank."""
    kept, count = np.empty((len(spans), 2), dtype=np.int64), 0
    for part in range(len(spans)):
        start, end = stripped(codes, kinds, spans[part, 0], spans[part, 1])
        if start < end:
            kept[count, 0], kept[count, 1] = spans[part, 0], spans[part, 1]
            count += 1
    return kept[:count]


@compiled
def hashes_of(codes: Codes, spans: Spans) -> Hashes:
    """One hash a part."""
    hashes = np.empty(len(spans), dtype=np.uint64)
    for part in range(len(spans)):
        hashes[part] = digest(codes[spans[part, 0] : spans[part, 1]])
    return hashes
