"""A corpus whose near-duplicates are known: pairs that share a prefix of their words and nothing else.

With n words and shingles of 5, a pair that shares its first k words shares k - 4 of n - 4 shingles each; all other words
are drawn from a vocabulary so large that no two documents share a shingle by chance.
"""

from dataclasses import dataclass

import numpy as np

WORDS, SHINGLE = 104, 5
SHINGLES = WORDS - SHINGLE + 1
LEVELS = {0.5: 750, 0.6: 2500, 0.7: 4000, 0.8: 2000, 0.9: 750}
"""Pairs by level, 20,000 documents in all; the standard error of a recall is then at most 0.8 points."""


@dataclass(frozen=True)
class Pair:
    """Two texts and their exact Jaccard similarity."""

    left: str
    right: str
    jaccard: float


def shared_for(level: float) -> int:
    """Shingles that a pair of about this similarity shares."""
    return round(2 * SHINGLES * level / (1 + level))


def exact(level: float) -> float:
    """The similarity that such a pair has."""
    shared = shared_for(level)
    return shared / (2 * SHINGLES - shared)


def pairs(level: float, count: int, seed: int) -> list[Pair]:
    """`count` pairs of one level."""
    generator = np.random.default_rng([seed, round(level * 100)])
    common = shared_for(level) + SHINGLE - 1
    drawn = generator.integers(0, 2**48, size=(count, 2 * WORDS - common))
    return [_pair([f"{number:x}" for number in row], common, exact(level)) for row in drawn.tolist()]


def _pair(words: list[str], common: int, jaccard: float) -> Pair:
    own = WORDS - common
    prefix, left, right = words[:common], words[common : common + own], words[common + own :]
    return Pair(" ".join(prefix + left), " ".join(prefix + right), jaccard)


def expected_recall(jaccard: float, bands: int = 14, rows: int = 8) -> float:
    """Probability that a pair becomes a candidate."""
    return 1 - (1 - jaccard**rows) ** bands
