"""Words, lines and runs of words as 64-bit numbers, the same in every process."""

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.curation.signals.characters import Codes
from llmtrain_jobs.curation.signals.compiled import compiled

Hashes = NDArray[np.uint64]
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
"""FNV-1a (Fowler, Noll, Vo), here over code points; `mix` spreads what it leaves in the low bits."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF, _FIRST, _SECOND = np.uint64(33), np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)


@compiled
def mix(value: np.uint64) -> np.uint64:
    """A bijection that spreads every input bit over all output bits (the finaliser of MurmurHash3)."""
    value ^= value >> _HALF
    value *= _FIRST
    value ^= value >> _HALF
    value *= _SECOND
    return value ^ (value >> _HALF)


@compiled
def with_code(state: np.uint64, code: int) -> np.uint64:
    """The hash of what came before and one more character, not mixed yet."""
    return (state ^ np.uint64(code)) * FNV_PRIME


@compiled
def digest(codes: Codes) -> np.uint64:
    """64 bits of a word or a line."""
    state = FNV_OFFSET
    for code in codes:
        state = with_code(state, code)
    return mix(state)


@compiled
def ngrams(hashes: Hashes, size: int) -> Hashes:
    """Hash of every run of `size` words: (words - size + 1,), empty for shorter texts.

    A polynomial over hashes that are random already; 64 bits, so that two different runs of one corpus of 10^9 are
    taken for equal with a probability of about 0.03.
    """
    grams = np.empty(max(0, len(hashes) - size + 1), dtype=np.uint64)
    for start in range(len(grams)):
        gram = hashes[start]
        for place in range(start + 1, start + size):
            gram = gram * MULTIPLIER + hashes[place]
        grams[start] = mix(gram)
    return grams


def mixed(values: Hashes) -> Hashes:
    """`mix` of every value."""
    values = values ^ (values >> _HALF)
    values *= _FIRST
    values ^= values >> _HALF
    values *= _SECOND
    values ^= values >> _HALF
    return values
