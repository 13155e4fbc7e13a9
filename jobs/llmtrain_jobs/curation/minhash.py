"""MinHash signatures of a text's shingles, and the LSH bands made from them (Broder 1997; Indyk and Motwani 1998).

Two texts of Jaccard similarity s share at least one of b bands of r values with probability 1-(1-s^r)^b.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.curation.signals.compiled import compiled
from llmtrain_jobs.curation.signals.hashing import Hashes, mixed, ngrams

Signature = NDArray[np.uint32]
_NONE, _HIGH = np.uint32(0xFFFFFFFF), np.uint64(32)


@dataclass(frozen=True)
class Permutations:
    """Bijections x -> (a x + b) mod 2^32 with odd a over well mixed 32-bit hashes; a fixed seed, the same for ever."""

    multipliers: NDArray[np.uint32]
    offsets: NDArray[np.uint32]
    bands: int

    @classmethod
    def make(cls, count: int, bands: int) -> "Permutations":
        """`count` values a signature, in `bands` bands."""
        generator = np.random.Generator(np.random.Philox(key=[0x11A5, 0]))
        drawn = generator.integers(0, 2**32, size=(2, count), dtype=np.uint32)
        return cls(drawn[0] | np.uint32(1), drawn[1], bands)

    def signature(self, shingles: Hashes) -> Signature:
        """Least value of every permutation: (permutations,)."""
        return least_values(shingles, self.multipliers, self.offsets)

    def band_hashes(self, signatures: NDArray[np.uint32]) -> Hashes:
        """(documents, permutations) -> (documents, bands): 64 bits of each band, never 0."""
        grouped = signatures.reshape(len(signatures), self.bands, -1).astype(np.uint64)
        hashes = np.zeros(grouped.shape[:2], dtype=np.uint64)
        for row in range(grouped.shape[2]):
            hashes = mixed(hashes * np.uint64(0x100000001B3) + grouped[:, :, row] + np.uint64(1))
        return np.maximum(hashes, np.uint64(1))


@compiled
def least_values(shingles: Hashes, multipliers: Signature, offsets: Signature) -> Signature:
    """Of the shingles' upper halves; all permutations of one shingle at a time, eight in one instruction."""
    least = np.full(len(multipliers), _NONE)
    for shingle in shingles:
        short = np.uint32(shingle >> _HIGH)
        for number in range(len(multipliers)):
            value = np.uint32(multipliers[number] * short + offsets[number])
            least[number] = min(least[number], value)
    return least


def shingles_of(normal: Hashes, size: int) -> Hashes:
    """Hashes of all runs of `size` words; a shorter text is one shingle, one without words none."""
    if len(normal) == 0:
        return normal
    return ngrams(normal, min(size, len(normal)))


def jaccard(left: Hashes, right: Hashes) -> float:
    """Similarity of two sorted sets of shingles."""
    if len(left) == 0 or len(right) == 0:
        return 0.0
    both = len(np.intersect1d(left, right, assume_unique=True))
    return both / (len(left) + len(right) - both)
