"""Clusters of duplicates: connected components of the verified pairs, named by their first document."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from llmtrain_jobs.curation.dedup.lsh import Pairs
from llmtrain_jobs.curation.signals.hashing import Hashes

LARGEST_EXACT = 500
"""Documents of a component up to which its diameter is exact; of larger ones a lower bound is found by two searches."""


@dataclass(frozen=True)
class Shape:
    """How far the components reach. `diameters`: components of distinct documents by their longest shortest path."""

    clusters: int
    members: int
    largest: int
    diameters: dict[int, int]


def exact_pairs(high: Hashes, low: Hashes) -> Pairs:
    """(first document with this key, another one) for every repeat; documents without a key repeat nothing."""
    order = np.lexsort((low, high))
    same = (high[order][1:] == high[order][:-1]) & (low[order][1:] == low[order][:-1])
    same &= (high[order][1:] != 0) | (low[order][1:] != 0)
    starts = np.concatenate([[0], np.flatnonzero(~same) + 1]) if len(order) else np.zeros(0, dtype=np.int64)
    first = np.repeat(order[starts], np.diff(np.append(starts, len(order))))
    repeats = np.flatnonzero(np.concatenate([[False], same])) if len(order) else starts
    return np.stack([first[repeats], order[repeats]], axis=1).astype(np.int64)


def clusters_of(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """For every document the smallest number in its component."""
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(graph.tocsr(), directed=False)
    first = np.full(count, count, dtype=np.int64)
    np.minimum.at(first, labels, np.arange(count))
    named: NDArray[np.int64] = first[labels]
    return named


def shape_of(clusters: NDArray[np.int64], near: Pairs) -> Shape:
    """Sizes over all documents, diameters over the near pairs."""
    sizes = np.bincount(clusters, minlength=1)
    repeated = sizes[sizes > 1]
    return Shape(len(repeated), int(repeated.sum()), int(repeated.max(initial=0)), diameters(near))


def diameters(pairs: Pairs) -> dict[int, int]:
    """How many components have which diameter."""
    neighbours: dict[int, list[int]] = {}
    for left, right in pairs.tolist():
        neighbours.setdefault(left, []).append(right)
        neighbours.setdefault(right, []).append(left)
    counts: Counter[int] = Counter()
    seen: set[int] = set()
    for start in neighbours:
        if start not in seen:
            component = _reached(neighbours, start)
            seen.update(component)
            counts[_diameter(neighbours, list(component))] += 1
    return dict(sorted(counts.items()))


def _diameter(neighbours: dict[int, list[int]], component: Sequence[int]) -> int:
    if len(component) <= LARGEST_EXACT:
        return max(max(_reached(neighbours, start).values()) for start in component)
    first = _reached(neighbours, component[0])
    return max(_reached(neighbours, max(first, key=lambda node: first[node])).values())


def _reached(neighbours: dict[int, list[int]], start: int) -> dict[int, int]:
    """Distance of every document that can be reached."""
    distances, frontier = {start: 0}, [start]
    while frontier:
        following = []
        for node in frontier:
            for other in neighbours[node]:
                if other not in distances:
                    distances[other] = distances[node] + 1
                    following.append(other)
        frontier = following
    return distances
