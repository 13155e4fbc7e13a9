"""Signals of repetition: Gopher's Table A1 (Rae et al. 2021) and FineWeb's repeated lines, as datatrove counts them."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.curation.signals.lexicon import Hashes, Words, longer

TOP_SIZES = (2, 3, 4)
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)
FEW = 8
NGRAM_SIGNALS = (
    *(f"top{n}GramCharacterShare" for n in TOP_SIZES),
    *(f"duplicate{n}GramCharacterShare" for n in DUPLICATE_SIZES),
)
PARAGRAPHS, LINES = re.compile(r"\n{2,}"), re.compile(r"\n+")


def repetition_signals(text: str, words: Words) -> dict[str, float]:
    """Shares of repeated lines, paragraphs and n-grams; n-grams and most characters relative to the whole text."""
    size = max(1, len(text))
    lines, paragraphs = LINES.split(text), PARAGRAPHS.split(text.strip())
    line_repeats, line_characters = repeats(lines)
    paragraph_repeats, paragraph_characters = repeats(paragraphs)
    filled = [line for line in text.split("\n") if line.strip()]
    without_newlines = max(1, size - text.count("\n"))
    signals = {
        "duplicateLineShare": line_repeats / len(lines),
        "duplicateLineCharacterShare": line_characters / size,
        "duplicateParagraphShare": paragraph_repeats / len(paragraphs),
        "duplicateParagraphCharacterShare": paragraph_characters / size,
        "repeatedFilledLineCharacterShare": repeats(filled)[1] / without_newlines,
    }
    return signals | {name: characters / size for name, characters in ngram_characters(words).items()}


def ngram_characters(words: Words) -> dict[str, int]:
    """Characters that the most frequent n-gram of 2 to 4 words covers, and those in repeated n-grams of 5 to 10."""
    ends: NDArray[np.int64] = np.concatenate([[0], np.cumsum(words.lengths)])
    found, grams = dict.fromkeys(NGRAM_SIGNALS, 0), words.hashes
    for size in range(2, DUPLICATE_SIZES[-1] + 1):
        grams = longer(grams, words.hashes)
        if not len(grams):
            break
        if size in TOP_SIZES:
            found[f"top{size}GramCharacterShare"] = _top_characters(grams, ends, size)
        else:
            found[f"duplicate{size}GramCharacterShare"] = repeated = _repeated_characters(grams, ends, size)
            if not repeated:
                break  # what holds a repeated longer n-gram holds a repeated shorter one
    return found


def repeats(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts occurred before, and their characters."""
    different = set(parts)
    count = len(parts) - len(different)
    return (count, sum(map(len, parts)) - sum(map(len, different))) if count else (0, 0)


def _top_characters(grams: Hashes, ends: NDArray[np.int64], size: int) -> int:
    """Inner spaces count too; of several most frequent n-grams the first."""
    count, first = _most_frequent(grams)
    return count * int(ends[first + size] - ends[first] + size - 1)


def _most_frequent(grams: Hashes) -> tuple[int, int]:
    """How often the most frequent value occurs and where it stands first; of several the one that stands first."""
    ordered = np.sort(grams)
    edges = np.flatnonzero(ordered[1:] != ordered[:-1])
    if len(edges) == len(grams) - 1:
        return 1, 0
    starts = np.empty(len(edges) + 2, dtype=np.int64)
    starts[0], starts[1:-1], starts[-1] = 0, edges + 1, len(grams)
    counts = starts[1:] - starts[:-1]
    most = counts.max()
    winners = ordered[starts[:-1][counts == most]]
    if len(winners) > FEW:
        return int(most), int(np.flatnonzero(np.isin(grams, winners))[0])
    return int(most), min(int((grams == winner).argmax()) for winner in winners)


def _repeated_characters(grams: Hashes, ends: NDArray[np.int64], size: int) -> int:
    """Each character once, spaces not counted."""
    ordered = np.sort(grams)
    if not (ordered[1:] == ordered[:-1]).any():
        return 0
    starts = _repeated_starts(grams, size)
    return int((ends[starts + size] - ends[starts]).sum())


def _repeated_starts(grams: Hashes, size: int) -> NDArray[np.int64]:
    """Where a repeated n-gram starts, from left to right, the next one after its end. Only those that occur twice count."""
    order = np.argsort(grams, kind="stable")
    equal = grams[order[1:]] == grams[order[:-1]]
    several = np.zeros(len(grams), dtype=np.bool_)
    several[order[1:][equal]] = several[order[:-1][equal]] = True
    places = np.flatnonzero(several)
    seen: set[int] = set()
    starts: list[int] = []
    free = 0
    for place, gram in zip(places.tolist(), grams[places].tolist(), strict=True):
        if place >= free:
            if gram in seen:
                starts.append(place)
                free = place + size
            else:
                seen.add(gram)
    return np.array(starts, dtype=np.int64)
