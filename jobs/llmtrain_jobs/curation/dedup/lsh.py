"""Candidates for near-duplicates: documents that share a band, found over all chunks at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.store import Store
from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.signals.hashing import Hashes, mixed

Pairs = NDArray[np.int64]
MOST_PAIRWISE = 64
"""Up to so many documents of a bucket all pairs are compared; in larger ones each with the first and with the next."""


@dataclass(frozen=True)
class BandTask:
    """Hashes of one band that leave `remainder` modulo `divisor`: what one task holds is bounded by the divisor."""

    band: int
    remainder: int
    divisor: int


def candidates(
    store: Store,
    layout: Layout,
    chunks: Sequence[Chunk],
    task: BandTask,
    excluded: NDArray[np.bool_],
    scopes: NDArray[np.uint16],
) -> Pairs:
    """Pairs of document numbers (pairs, 2), the smaller first, each once. `excluded`, `scopes`: by document."""
    hashes, documents = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)]
    for chunk in chunks:
        band = read_band(store, layout, chunk, task.band)
        span = slice(chunk.first, chunk.first + chunk.count)
        wanted = (band != 0) & ~excluded[span] & (band % np.uint64(task.divisor) == task.remainder)
        scoped = band ^ mixed(scopes[span].astype(np.uint64))
        hashes.append(scoped[wanted])
        documents.append(np.flatnonzero(wanted) + chunk.first)
    return pairs_of(np.concatenate(hashes), np.concatenate(documents))


def read_band(store: Store, layout: Layout, chunk: Chunk, band: int) -> Hashes:
    """One band's hashes of one chunk."""
    with store.open(layout.chunk(chunk.part, chunk.index, "bands")) as file:
        file.seek(band * chunk.count * 8)
        return np.frombuffer(file.read(chunk.count * 8), dtype=np.uint64)


def pairs_of(hashes: Hashes, documents: NDArray[np.int64]) -> Pairs:
    """Pairs within each bucket of equal hashes."""
    order = np.lexsort((documents, hashes))
    hashes, documents = hashes[order], documents[order]
    edges = np.flatnonzero(hashes[1:] != hashes[:-1]) + 1
    starts = np.concatenate([[0], edges])
    sizes = np.diff(np.append(starts, len(hashes)))
    found = [np.zeros((0, 2), dtype=np.int64)]
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        bucket = documents[start : start + size]
        found.append(_all_pairs(bucket) if size <= MOST_PAIRWISE else _first_and_next(bucket))
    return np.unique(np.concatenate(found), axis=0)


def _all_pairs(bucket: NDArray[np.int64]) -> Pairs:
    left, right = np.triu_indices(len(bucket), 1)
    return np.stack([bucket[left], bucket[right]], axis=1)


def _first_and_next(bucket: NDArray[np.int64]) -> Pairs:
    first = np.full(len(bucket) - 1, bucket[0])
    return np.concatenate([np.stack([first, bucket[1:]], axis=1), np.stack([bucket[:-1], bucket[1:]], axis=1)])
