"""Signals of repetition: Gopher's Table A1 (Rae et al. 2021) and FineWeb's repeated lines, as datatrove counts them.

Gopher's paper does not say whether spaces are characters of an n-gram, nor whether the first of several copies is a
repetition. datatrove counts spaces and leaves the first out; dolma the other way round, and its signals are called copied.
"""

import numpy as np

from llmtrain_jobs.curation.signals.characters import Codes, Kinds
from llmtrain_jobs.curation.signals.compiled import compiled
from llmtrain_jobs.curation.signals.hashing import MULTIPLIER, Hashes
from llmtrain_jobs.curation.signals.lines import NEWLINE, Spans, hashes_of, parts, stripped
from llmtrain_jobs.curation.signals.words import Counts, Words

TOP_SIZES = (2, 3, 4)
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)
SHORTEST, LONGEST_TOP, LONGEST = TOP_SIZES[0], TOP_SIZES[-1], DUPLICATE_SIZES[-1]
NGRAM_SIGNALS = (
    *(f"top{n}GramCharacterShare" for n in TOP_SIZES),
    *(f"duplicate{n}GramCharacterShare" for n in DUPLICATE_SIZES),
)
COPIED_SIGNALS = (
    *(f"top{n}GramWordCharacterShare" for n in TOP_SIZES),
    *(f"copied{n}GramCharacterShare" for n in DUPLICATE_SIZES),
)
_SPREAD = np.uint64(0xD6E8FEB86659FD93)


def repetition_signals(codes: Codes, kinds: Kinds, lines: Spans, filled: Spans, words: Words) -> dict[str, float]:
    """Shares of repeated lines, paragraphs and n-grams; n-grams and most characters relative to the whole text."""
    size = max(1, len(codes))
    paragraphs = parts(codes, *stripped(codes, kinds, 0, len(codes)), 2)
    line_repeats, line_characters = repeats(codes, lines)
    paragraph_repeats, paragraph_characters = repeats(codes, paragraphs)
    without_newlines = max(1, size - int(np.count_nonzero(codes == NEWLINE)))
    signals = {
        "duplicateLineShare": line_repeats / len(lines),
        "duplicateLineCharacterShare": line_characters / size,
        "duplicateParagraphShare": paragraph_repeats / len(paragraphs),
        "duplicateParagraphCharacterShare": paragraph_characters / size,
        "repeatedFilledLineCharacterShare": repeats(codes, filled)[1] / without_newlines,
    }
    copies, copied_characters = repeats_with_first(codes, lines)
    signals |= {
        "copiedLineShare": copies / len(lines),
        "copiedLineCharacterShare": copied_characters / max(1, int(words.ends[-1])),
    }
    return signals | ngram_signals(words, size)


def ngram_signals(words: Words, size: int) -> dict[str, float]:
    """Shares of n-grams in the text's `size` characters, and as dolma has them in the characters of words alone."""
    spaced, plain = ngram_characters(words.hashes, words.ends)
    wholes = [int(words.ends[-1])] * len(TOP_SIZES) + [
        int((words.ends[n:] - words.ends[:-n]).sum()) for n in DUPLICATE_SIZES
    ]
    signals = {name: covered / size for name, covered in zip(NGRAM_SIGNALS, spaced.tolist(), strict=True)}
    for name, covered, whole in zip(COPIED_SIGNALS, plain.tolist(), wholes, strict=True):
        signals[name] = covered / max(1, whole)
    return signals


@compiled
def repeats_with_first(codes: Codes, spans: Spans) -> tuple[int, int]:
    """How many parts occur more than once, the first included, and their characters."""
    hashes, table = hashes_of(codes, spans), slots_for(len(spans))
    again, count, characters = np.zeros(len(spans), dtype=np.bool_), 0, 0
    for part in range(len(spans)):
        slot = slot_of(hashes, part, table)
        if table[slot] < 0:
            table[slot] = part
            continue
        copies = 1 if again[table[slot]] else 2
        again[table[slot]] = True
        count += copies
        characters += copies * (spans[part, 1] - spans[part, 0])
    return count, characters


@compiled
def repeats(codes: Codes, spans: Spans) -> tuple[int, int]:
    """How many parts occurred before, and their characters."""
    hashes, table = hashes_of(codes, spans), slots_for(len(spans))
    count, characters = 0, 0
    for part in range(len(spans)):
        slot = slot_of(hashes, part, table)
        if table[slot] < 0:
            table[slot] = part
        else:
            count += 1
            characters += spans[part, 1] - spans[part, 0]
    return count, characters


@compiled
def ngram_characters(hashes: Hashes, ends: Counts) -> Counts:
    """Characters that the most frequent n-gram of 2 to 4 words covers, and those in repeated n-grams of 5 to 10.

    (2, sizes): as datatrove counts them, as dolma does.
    """
    found, grams = np.zeros((2, LONGEST - SHORTEST + 1), dtype=np.int64), hashes.copy()
    for size in range(SHORTEST, LONGEST + 1):
        count = len(hashes) - size + 1
        if count < 1:
            break
        for start in range(count):
            grams[start] = grams[start] * MULTIPLIER + hashes[start + size - 1]
        column, seen = size - SHORTEST, grams[:count]
        if size <= LONGEST_TOP:
            most, first = top_ngram(seen)
            found[1, column] = most * (ends[first + size] - ends[first])
            found[0, column] = found[1, column] + most * (size - 1)
            continue
        found[0, column] = repeated_characters(seen, ends, size)
        if not found[0, column]:
            break  # what holds a repeated longer n-gram holds a repeated shorter one
        found[1, column] = copied_characters(seen, ends, size)
    return found


@compiled
def top_ngram(grams: Hashes) -> tuple[int, int]:
    """How often the most frequent n-gram occurs, and where first; of several the first."""
    table, counts = slots_for(len(grams)), np.zeros(len(grams), dtype=np.int64)
    most, first = 0, 0
    for place in range(len(grams)):
        slot = slot_of(grams, place, table)
        if table[slot] < 0:
            table[slot] = place
        own = table[slot]
        counts[own] += 1
        if counts[own] > most or (counts[own] == most and own < first):
            most, first = counts[own], own
    return most, first


@compiled
def copied_characters(grams: Hashes, ends: Counts, size: int) -> int:
    """Of the words of every n-gram that occurs more than once, each time that it does; overlaps count again."""
    table, again, characters = slots_for(len(grams)), np.zeros(len(grams), dtype=np.bool_), 0
    for place in range(len(grams)):
        slot = slot_of(grams, place, table)
        if table[slot] < 0:
            table[slot] = place
            continue
        characters += (1 if again[table[slot]] else 2) * (ends[place + size] - ends[place])
        again[table[slot]] = True
    return characters


@compiled
def repeated_characters(grams: Hashes, ends: Counts, size: int) -> int:
    """Each character once, spaces not counted: from left to right, the next n-gram after the end of a repeated one."""
    table, characters, place = slots_for(len(grams)), 0, 0
    while place < len(grams):
        slot = slot_of(grams, place, table)
        if table[slot] < 0:
            table[slot] = place
            place += 1
        else:
            characters += ends[place + size] - ends[place]
            place += size
    return characters


@compiled
def slots_for(count: int) -> Counts:
    """An empty hash table of places, at most half of which will be filled; its length is a power of two."""
    size = 16
    while size < 2 * count:
        size *= 2
    return np.full(size, -1, dtype=np.int64)


@compiled
def slot_of(values: Hashes, place: int, table: Counts) -> int:
    """Where the place of an equal value stands, or an empty slot for it."""
    value, last = values[place], np.uint64(len(table) - 1)
    slot = (value * _SPREAD >> np.uint64(32)) & last
    while table[slot] >= 0 and values[table[slot]] != value:
        slot = (slot + np.uint64(1)) & last
    return int(slot)
