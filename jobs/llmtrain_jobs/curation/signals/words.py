"""Words as numbers: a text is looked at once, all that follows is arithmetic on arrays.

A word is what whitespace separates (Gopher's plain reading, as in dolma and RedPajama; spaCy tokens, as in datatrove,
split punctuation off). For near-duplicates and decontamination a word is a run of letters and digits in lower case;
a character of a script without spaces is a word of its own. Marks belong to the character before them; joiners, soft
hyphens and variation selectors neither part words nor tell them apart (Unicode Annex 29, WB4).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.curation.signals.characters import (
    ALPHABETIC,
    ALPHANUMERIC,
    LONE,
    MARK,
    SPACE,
    UNSEEN,
    Codes,
    Kinds,
    codes_of,
    composed,
    kinds_for,
)
from llmtrain_jobs.curation.signals.compiled import compiled
from llmtrain_jobs.curation.signals.hashing import FNV_OFFSET, Hashes, digest, mix, with_code
from llmtrain_jobs.curation.signals.stopwords import ENGLISH, STOP_WORDS, stop_words

Counts = NDArray[np.int64]
IN_WORDS = ALPHANUMERIC | LONE | MARK | UNSEEN
LONGEST_STOP = max(len(word) for words in STOP_WORDS.values() for word in words)
REAL, CHARACTERS, WITH_LETTER, FIRST_STOP = range(4)
"""Places of what is counted: words that are no mere symbols, their characters, words with a letter, each stop word."""


@dataclass(frozen=True)
class Words:
    """One text's words: `hashes` (words,), `ends` (words + 1,) their lengths added up, `normal` in their normal form."""

    hashes: Hashes
    ends: Counts
    counts: Counts
    normal: Hashes


def words_of(text: str, language: str = ENGLISH) -> Words:
    """The words of a text, in order. `language`: whose stop words are counted."""
    return Words(*split(codes_of(text), kinds_for(text), stop_hashes(language)), normal_hashes(text))


@cache
def stop_hashes(language: str) -> Hashes:
    """Of a language's stop words, none of one without a list."""
    return np.array([digest(codes_of(word)) for word in stop_words(language)], dtype=np.uint64)


def normal_hashes(text: str) -> Hashes:
    """Hashes of the words in normal form, composed and decomposed letters alike."""
    lower = composed(text).lower()
    return normal_split(codes_of(lower), kinds_for(lower))


@compiled
def split(codes: Codes, kinds: Kinds, stops: Hashes) -> tuple[Hashes, Counts, Counts]:
    """Hashes, lengths added up and counts of what whitespace separates."""
    total = words_in(codes, kinds)
    hashes, ends = np.empty(total, dtype=np.uint64), np.zeros(total + 1, dtype=np.int64)
    counts = np.zeros(FIRST_STOP + len(stops), dtype=np.int64)
    state, length, seen, word = FNV_OFFSET, 0, 0, 0
    for place in range(len(codes) + 1):
        kind = SPACE if place == len(codes) else kind_of(codes[place], kinds)
        if not kind & SPACE:
            state = with_code(state, codes[place])
            length += 1
            seen |= kind
        elif length:
            hashes[word], ends[word + 1] = mix(state), ends[word] + length
            note(counts, seen, length, hashes[word], stops)
            state, length, seen, word = FNV_OFFSET, 0, 0, word + 1
    return hashes, ends, counts


@compiled
def words_in(codes: Codes, kinds: Kinds) -> int:
    """How many words there are."""
    total, before = 0, SPACE
    for code in codes:
        kind = kind_of(code, kinds) & SPACE
        total += before > kind
        before = kind
    return total


@compiled
def note(counts: Counts, seen: int, length: int, word: np.uint64, stops: Hashes) -> None:
    """Count a word in which the kinds `seen` occur."""
    if seen & ALPHANUMERIC:
        counts[REAL] += 1
        counts[CHARACTERS] += length
    if seen & ALPHABETIC:
        counts[WITH_LETTER] += 1
    if length <= LONGEST_STOP:
        for index in range(len(stops)):
            if stops[index] == word:
                counts[FIRST_STOP + index] += 1


@compiled
def median_length(ends: Counts) -> float:
    """The middle length of the words, of two the mean; 0 without words."""
    count, longest = len(ends) - 1, 0
    for word in range(count):
        longest = max(longest, ends[word + 1] - ends[word])
    by_length = np.zeros(longest + 1, dtype=np.int64)
    for word in range(count):
        by_length[ends[word + 1] - ends[word]] += 1
    lower, upper, passed = -1, 0, 0
    for length in range(longest + 1):
        passed += by_length[length]
        if lower < 0 and passed > (count - 1) // 2:
            lower = length
        if passed > count // 2:
            upper = length
            break
    return (lower + upper) / 2 if count else 0.0


@compiled
def normal_split(codes: Codes, kinds: Kinds) -> Hashes:
    """Hashes of the runs of letters and digits and of the lone characters. `codes`: of a text in lower case."""
    hashes = np.empty(normal_in(codes, kinds), dtype=np.uint64)
    state, before, word = FNV_OFFSET, 0, 0
    for place in range(len(codes) + 1):
        kind = 0 if place == len(codes) else kind_of(codes[place], kinds) & IN_WORDS
        if kind != ALPHANUMERIC or before != ALPHANUMERIC:  # a letter after another, the usual case, is asked no more
            if kind & UNSEEN:
                continue
            if kind & MARK:
                state = with_code(state, codes[place]) if before else state
                continue
            if before:
                hashes[word] = mix(state)
                state, word = FNV_OFFSET, word + 1
            before = kind
        if kind:
            state = with_code(state, codes[place])
    return hashes


@compiled
def normal_in(codes: Codes, kinds: Kinds) -> int:
    """How many words in normal form there are."""
    total, before = 0, 0
    for code in codes:
        kind = kind_of(code, kinds) & IN_WORDS
        if kind & (MARK | UNSEEN):
            continue
        total += kind != 0 and (kind != ALPHANUMERIC or before != ALPHANUMERIC)
        before = kind
    return total


@compiled
def kind_of(code: int, kinds: Kinds) -> int:
    """Kinds of a character."""
    return kinds[code] if code < len(kinds) else 0
