"""Paragraphs that occurred before, in this document or in an earlier one that stays.

A paragraph is what a newline ends, as in CCNet (Wenzek et al. 2020) and Dolma; two are equal if their words in normal
form are. Those of few words stay: headings and short answers repeat for good reasons.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.store import Store
from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.signals.hashing import ngrams
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.curation.tables import read_table, strings

Paragraphs = NDArray[np.void]
PARAGRAPH = np.dtype([("hash", "u8"), ("document", "i8"), ("place", "i4"), ("size", "i4")])
"""`place`: number of the line in its document's text. `size`: bytes, the newline too."""


def paragraphs_in(
    store: Store, layout: Layout, chunks: Sequence[Chunk], wanted: NDArray[np.bool_], least: int
) -> Paragraphs:
    """Paragraphs of at least `least` words of a part's wanted documents."""
    found, row = [np.zeros(0, dtype=PARAGRAPH)], 0
    for chunk in chunks:
        own = wanted[row : row + chunk.count]
        row += chunk.count
        if own.any():
            texts = strings(read_table(store, layout.chunk(chunk.part, chunk.index, "text")), "text")
            rows = [e for place in np.flatnonzero(own) for e in _entries(chunk.first + int(place), texts[place], least)]
            found.append(np.array(rows, dtype=PARAGRAPH))
    return np.concatenate(found)


def _entries(document: int, text: str, least: int) -> Iterator[tuple[int, int, int, int]]:
    for place, line in enumerate(text.split("\n")):
        normal = normal_hashes(line)
        if len(normal) >= least:
            yield int(ngrams(normal, len(normal))[0]), document, place, len(line.encode()) + 1


def repeats_among(blocks: Iterable[Paragraphs], remainder: int, divisor: int) -> Paragraphs:
    """All but the first of equal paragraphs, by document and place, of those whose hash leaves `remainder`."""
    own = [block[block["hash"] % np.uint64(divisor) == remainder] for block in blocks]
    joined = np.concatenate([np.zeros(0, dtype=PARAGRAPH), *own])
    joined = joined[np.lexsort((joined["place"], joined["document"], joined["hash"]))]
    again = joined[1:][joined["hash"][1:] == joined["hash"][:-1]]
    return in_order(again)


def in_order(paragraphs: Paragraphs) -> Paragraphs:
    """By document and place."""
    return paragraphs[np.lexsort((paragraphs["place"], paragraphs["document"]))]


def without(text: str, document: int, repeats: Paragraphs) -> str:
    """A document's text without its repeats, which are in order."""
    first, end = np.searchsorted(repeats["document"], [document, document + 1])
    if first == end:
        return text
    gone = set(repeats["place"][first:end].tolist())
    return "\n".join(line for place, line in enumerate(text.split("\n")) if place not in gone)
