"""Candidates verified by exact Jaccard similarity.

The shingles of all documents that some pair names are laid out by bundle, one file a part; the task of a bundle reads
its stretch of every such file. Texts are read once, and what a task holds is bounded by the size of a bundle.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.store import Store
from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.dedup.lsh import Pairs
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.minhash import jaccard, shingles_of
from llmtrain_jobs.curation.signals.hashing import Hashes
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.curation.tables import read_table, strings

Edges = NDArray[np.void]
EDGE = np.dtype([("left", "i8"), ("right", "i8"), ("jaccard", "f8")])
SHINGLE_BYTES = 2
"""Upper bound for most prose of the shingles' bytes per byte of text: 8 for every word."""


def bundles_of(pairs: Pairs, sizes: NDArray[np.int64], most: int) -> list[Pairs]:
    """Runs of pairs whose documents take at most `most` bytes; a single pair may take more. `sizes`: of texts."""
    bundles, start, held, seen = [], 0, 0, set[int]()
    for index, (left, right) in enumerate(pairs.tolist()):
        new = [document for document in (left, right) if document not in seen]
        added = sum(int(sizes[document]) * SHINGLE_BYTES for document in new)
        if held + added > most and index > start:
            bundles.append(pairs[start:index])
            start, held, seen = index, 0, set()
            added = int(sizes[left] + sizes[right]) * SHINGLE_BYTES
        seen |= {left, right}
        held += added
    return [*bundles, pairs[start:]] if start < len(pairs) else bundles


@dataclass(frozen=True)
class Wanted:
    """For one part: (bundle, document) of every copy that is needed, by bundle, and how many bundles there are."""

    bundles: NDArray[np.int32]
    documents: NDArray[np.int64]
    count: int


def wanted_of(bundles: Sequence[Pairs], starts: NDArray[np.int64]) -> list[Wanted]:
    """What each part has to give. `starts`: number of the first document of every part."""
    documents = [np.unique(bundle) for bundle in bundles]
    numbers = np.repeat(np.arange(len(bundles), dtype=np.int32), [len(found) for found in documents])
    joined = np.concatenate(documents) if documents else np.zeros(0, dtype=np.int64)
    part = np.searchsorted(starts, joined, side="right") - 1
    return [Wanted(numbers[part == p], joined[part == p], len(bundles)) for p in range(len(starts))]


def gather(
    store: Store,
    layout: Layout,
    chunks: Sequence[Chunk],
    wanted: Wanted,
    size: int,
    put: Callable[[bytes], None],
) -> list[int]:
    """Give `put` the shingles of a part's wanted documents, by bundle; where each bundle ends.

    A document is its number, the count of its shingles, then these, sorted: all 64 bits wide.
    """
    shingles = dict(_shingles(store, layout, chunks, set(wanted.documents.tolist()), size))
    ends, position, blocks = [], 0, []
    for bundle in range(wanted.count):
        for document in wanted.documents[wanted.bundles == bundle].tolist():
            found = shingles[document]
            blocks.append(np.concatenate([np.array([document, len(found)], dtype=np.uint64), found]).tobytes())
            position += len(blocks[-1])
        ends.append(position)
    put(b"".join(blocks))
    return ends


def _shingles(
    store: Store, layout: Layout, chunks: Sequence[Chunk], wanted: set[int], size: int
) -> Iterator[tuple[int, Hashes]]:
    for chunk in chunks:
        rows = [row for row in range(chunk.count) if chunk.first + row in wanted]
        if rows:
            texts = strings(read_table(store, layout.chunk(chunk.part, chunk.index, "text")), "text")
            for row in rows:
                yield chunk.first + row, np.unique(shingles_of(normal_hashes(texts[row]), size))


def verify(blocks: Iterator[bytes], pairs: Pairs, least: float) -> Edges:
    """Pairs that are at least so similar."""
    documents: dict[int, Hashes] = {}
    for block in blocks:
        documents |= _unpacked(np.frombuffer(block, dtype=np.uint64))
    similar = [
        (left, right, value)
        for left, right in pairs.tolist()
        if (value := jaccard(documents[left], documents[right])) >= least
    ]
    return np.array(similar, dtype=EDGE)


def _unpacked(block: Hashes) -> dict[int, Hashes]:
    found, position = {}, 0
    while position < len(block):
        document, count = int(block[position]), int(block[position + 1])
        found[document] = block[position + 2 : position + 2 + count]
        position += 2 + count
    return found
