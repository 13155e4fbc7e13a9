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
    line_repeats, line_characters, copies, copied_characters = repeats(codes, lines)
    paragraph_repeats, paragraph_characters, _, _ = repeats(codes, paragraphs)
    without_newlines = max(1, size - int(np.count_nonzero(codes == NEWLINE)))
    signals = {
        "duplicateLineShare": line_repeats / len(lines),
        "duplicateLineCharacterShare": line_characters / size,
        "duplicateParagraphShare": paragraph_repeats / len(paragraphs),
        "duplicateParagraphCharacterShare": paragraph_characters / size,
        "repeatedFilledLineCharacterShare": repeats(codes, filled)[1] / without_newlines,
        "copiedLineShare": copies / len(lines),
        "copiedLineCharacterShare": copied_characters / max(1, int(words.ends[-1])),
    }
    spaced, plain, wholes = ngram_characters(words.hashes, words.ends).tolist()
    signals |= {name: covered / size for name, covered in zip(NGRAM_SIGNALS, spaced, strict=True)}
    shares = zip(COPIED_SIGNALS, plain, wholes, strict=True)
    return signals | {name: covered / max(1, whole) for name, covered, whole in shares}


@compiled
def repeats(codes: Codes, spans: Spans) -> tuple[int, int, int, int]:
    """How many parts occurred before, and their characters; both once more with the first of several counted."""
    hashes, table, again = hashes_of(codes, spans), slots_for(len(spans)), np.zeros(len(spans), dtype=np.bool_)
    count, characters, firsts, first_characters = 0, 0, 0, 0
    for part in range(len(spans)):
        slot = slot_of(hashes, part, table)
        if table[slot] < 0:
            table[slot] = part
            continue
        length = spans[part, 1] - spans[part, 0]
        count += 1
        characters += length
        if not again[table[slot]]:
            again[table[slot]] = True
            firsts += 1
            first_characters += length
    return count, characters, count + firsts, characters + first_characters


@compiled
def ngram_characters(hashes: Hashes, ends: Counts) -> Counts:
    """Characters that the most frequent n-gram of 2 to 4 words covers, and those in repeated n-grams of 5 to 10.

    (3, sizes): as datatrove counts them; as dolma does; of how many, as dolma counts those.
    """
    found, grams = np.zeros((3, LONGEST - SHORTEST + 1), dtype=np.int64), hashes.copy()
    for size in range(SHORTEST, LONGEST + 1):
        count, column = len(hashes) - size + 1, size - SHORTEST
        if count < 1:
            break
        for start in range(count):
            grams[start] = grams[start] * MULTIPLIER + hashes[start + size - 1]
        firsts = first_places(grams[:count])
        if size <= LONGEST_TOP:
            most, first = top_ngram(firsts)
            found[1, column], found[2, column] = most * (ends[first + size] - ends[first]), ends[-1]
            found[0, column] = found[1, column] + most * (size - 1)
            continue
        found[0, column] = repeated_characters(firsts, ends, size)
        if not found[0, column]:
            break  # what holds a repeated longer n-gram holds a repeated shorter one
        found[1, column], found[2, column] = copied_characters(firsts, ends, size)
    return found


@compiled
def first_places(grams: Hashes) -> Counts:
    """Of each n-gram, where an equal one stands first: (n-grams,)."""
    table, firsts = slots_for(len(grams)), np.empty(len(grams), dtype=np.int64)
    for place in range(len(grams)):
        slot = slot_of(grams, place, table)
        if table[slot] < 0:
            table[slot] = place
        firsts[place] = table[slot]
    return firsts


@compiled
def top_ngram(firsts: Counts) -> tuple[int, int]:
    """How often the most frequent n-gram occurs, and where first; of several the first."""
    counts = np.zeros(len(firsts), dtype=np.int64)
    most, first = 0, 0
    for own in firsts:
        counts[own] += 1
        if counts[own] > most or (counts[own] == most and own < first):
            most, first = counts[own], own
    return most, first


@compiled
def copied_characters(firsts: Counts, ends: Counts, size: int) -> tuple[int, int]:
    """Of the words of every n-gram that occurs more than once, each time that it does; and of all n-grams."""
    again, characters, whole = np.zeros(len(firsts), dtype=np.bool_), 0, 0
    for place, first in enumerate(firsts):
        length = ends[place + size] - ends[place]
        whole += length
        if first < place:
            characters += length if again[first] else 2 * length
            again[first] = True
    return characters, whole


@compiled
def repeated_characters(firsts: Counts, ends: Counts, size: int) -> int:
    """Each character once, spaces not counted: from left to right, the next n-gram after the end of a repeated one."""
    seen, characters, place = np.zeros(len(firsts), dtype=np.bool_), 0, 0
    while place < len(firsts):
        if seen[firsts[place]]:
            characters += ends[place + size] - ends[place]
            place += size
        else:
            seen[firsts[place]] = True
            place += 1
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
