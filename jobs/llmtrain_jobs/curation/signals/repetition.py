"""Signals of repetition: Gopher's Table A1 (Rae et al. 2021) and FineWeb's repeated lines, as datatrove counts them."""

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
    characters = ngram_characters(words.hashes, words.ends).tolist()
    return signals | {name: covered / size for name, covered in zip(NGRAM_SIGNALS, characters, strict=True)}


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
    """Characters that the most frequent n-gram of 2 to 4 words covers, and those in repeated n-grams of 5 to 10."""
    found, grams = np.zeros(LONGEST - SHORTEST + 1, dtype=np.int64), hashes.copy()
    for size in range(SHORTEST, LONGEST + 1):
        count = len(hashes) - size + 1
        if count < 1:
            break
        for start in range(count):
            grams[start] = grams[start] * MULTIPLIER + hashes[start + size - 1]
        characters = (
            top_characters(grams[:count], ends, size)
            if size <= LONGEST_TOP
            else repeated_characters(grams[:count], ends, size)
        )
        found[size - SHORTEST] = characters
        if size > LONGEST_TOP and not characters:
            break  # what holds a repeated longer n-gram holds a repeated shorter one
    return found


@compiled
def top_characters(grams: Hashes, ends: Counts, size: int) -> int:
    """Inner spaces count too; of several most frequent n-grams the first."""
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
    return int(most * (ends[first + size] - ends[first] + size - 1))


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
