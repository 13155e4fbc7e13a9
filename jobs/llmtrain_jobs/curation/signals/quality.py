"""Signals of words and lines: Gopher's quality rules, FineWeb's, C4's and DCLM's.

Definitions as in datatrove 0.10.1, DCLM and dolma 1.2.1 (its tagger gopher_v2); where they differ all are stored.
"""

import math

import numpy as np

from llmtrain_jobs.curation.signals.characters import Codes, Kinds
from llmtrain_jobs.curation.signals.lines import (
    BULLETS,
    ENDED,
    FILLED,
    LINES,
    MARKED,
    SHORT,
    TERMINALS,
    TRAILING,
    Spans,
    filled_counts,
    line_counts,
    mark_counts,
    sentences_in,
)
from llmtrain_jobs.curation.signals.words import (
    CHARACTERS,
    FIRST_STOP,
    REAL,
    WITH_LETTER,
    Words,
    median_length,
)


def word_signals(text: str, words: Words) -> dict[str, float]:
    """Counts and shares of words; stop words of a language without a list are not numbers, and break no rule."""
    count, real = max(1, len(words.hashes)), int(words.counts[REAL])
    stops = words.counts[FIRST_STOP:]
    hashes, ellipses = text.count("#"), text.count("...") + text.count("…")
    return {
        "words": float(real),
        "meanWordLength": int(words.counts[CHARACTERS]) / real if real else 0.0,
        "hashesPerWord": hashes / count,
        "ellipsesPerWord": ellipses / count,
        "symbolsPerWord": (hashes + ellipses + text.count(". . .")) / count,
        "alphabeticWordShare": int(words.counts[WITH_LETTER]) / count,
        "distinctStopWords": float(np.count_nonzero(stops)) if len(stops) else math.nan,
        "stopWords": float(stops.sum()) if len(stops) else math.nan,
        "newlinesPerWord": text.count("\n") / count,
        "allWords": float(len(words.hashes)),
        "normalWords": float(len(words.normal)),
        "medianWordLength": median_length(words.ends),
        "symbolWordShare": words_with_symbols(text) / count if hashes or "…" in text else 0.0,
    }


def words_with_symbols(text: str) -> int:
    """Words with a hash or an ellipsis in one character."""
    return sum("#" in word or "…" in word for word in text.split())


def line_signals(codes: Codes, kinds: Kinds, lines: Spans) -> dict[str, float]:
    """Shares of lines, and sentences. `lines`: those that are not blank."""
    all_lines, some = line_counts(codes, kinds), filled_counts(codes, kinds, lines)
    count, filled = max(1, int(all_lines[LINES])), max(1, int(some[FILLED]))
    return {
        "bulletLineShare": int(all_lines[BULLETS]) / count,
        "ellipsisLineShare": int(all_lines[TRAILING]) / count,
        "terminalLineShare": int(some[TERMINALS]) / filled,
        "shortLineShare": int(some[SHORT]) / filled,
        "sentences": float(sentences_in(codes, kinds, lines)),
    }


def document_signals(text: str) -> dict[str, float]:
    """What C4 looks for in a whole document."""
    return {"curlyBrackets": float(text.count("{")), "loremIpsums": float(text.lower().count("lorem ipsum"))}


def mark_signals(codes: Codes, lines: Spans) -> dict[str, float]:
    """Shares of lines by their first and last character as they stand, as dolma looks at them."""
    marks, count = mark_counts(codes, lines), max(1, len(lines))
    return {"markedLineShare": int(marks[MARKED]) / count, "endedByEllipsisShare": int(marks[ENDED]) / count}
