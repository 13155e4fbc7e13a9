"""Words as numbers: every distinct word is looked at once, all that follows is arithmetic on arrays.

A word is what whitespace separates (Gopher's plain reading, as in dolma and RedPajama; spaCy tokens, as in datatrove,
split punctuation off). For near-duplicates and decontamination a word is a run of letters and digits in lower case;
a character of a script without spaces is a word of its own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
"""Rae et al. 2021 (arXiv 2112.11446), Appendix A.1.1."""

SCRIPTS_WITHOUT_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_PLAIN = re.compile(r"[^\W_]+")
_MIXED = re.compile(rf"[{SCRIPTS_WITHOUT_SPACES}]|[^\W_{SCRIPTS_WITHOUT_SPACES}]+")
SYMBOL, ALPHABETIC = 1, 2
MOST_WORDS = 400_000
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Words:
    """One text's words. All arrays (words,), but `normal`: the hashes of the words in their normal form."""

    hashes: Hashes
    lengths: NDArray[np.int64]
    flags: NDArray[np.uint8]
    stops: NDArray[np.int8]
    normal: Hashes


class Lexicon:
    """Numbers of the words seen so far; it starts anew when it holds `MOST_WORDS`."""

    def __init__(self) -> None:
        """Empty; one a process."""
        self._stop_index = {word: index for index, word in enumerate(sorted(STOP_WORDS))}
        self._reset()

    def words(self, text: str) -> Words:
        """The words of a text, in order."""
        split = text.split()
        if len(self._ids) > MOST_WORDS:
            self._reset()
        ids = np.fromiter(map(self._ids.__getitem__, split), dtype=np.int64, count=len(split))
        rows = self._words.array()[ids]
        return Words(rows["hash"], rows["length"], rows["flags"], rows["stop"], self._normal(rows))

    def _normal(self, rows: NDArray[np.void]) -> Hashes:
        """Hashes of the normal forms: most words have one, some none, some several."""
        counts = rows["parts"]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        starts = np.repeat(rows["start"] - (ends - counts), counts)
        normal: Hashes = self._parts.array()[starts + np.arange(total)]
        return normal

    def _reset(self) -> None:
        self._ids = _Ids(self._describe)
        self._words, self._parts = Growing(_ROW), Growing(np.dtype("u8"))

    def _describe(self, word: str) -> None:
        start = len(self._parts)
        own = digest(word)
        if word.isascii() and word.isalnum():  # most words, and the others' rules come to the same for them
            flags = 0 if word.isdigit() else ALPHABETIC
            self._parts.append(own if word.islower() or word.isdigit() else digest(word.lower()))
            count = 1
        else:
            flags = 0 if any(map(str.isalnum, word)) else SYMBOL
            flags |= ALPHABETIC if any(map(str.isalpha, word)) else 0
            parts = normal_words(word)
            count = len(parts)
            for part in parts:
                self._parts.append(digest(part))
        self._words.append((own, len(word), flags, self._stop_index.get(word, -1), count, start))


_ROW = np.dtype([("hash", "u8"), ("length", "i8"), ("flags", "u1"), ("stop", "i1"), ("parts", "i8"), ("start", "i8")])


class Growing:
    """A one-dimensional array that grows; appending costs the same however long it is."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        """Empty, of elements of `dtype`."""
        self._settled, self._new, self._length = np.zeros(1024, dtype=dtype), list[Any](), 0

    def __len__(self) -> int:
        """Elements, those not yet copied too."""
        return self._length + len(self._new)

    def append(self, element: Any) -> None:
        """One more element."""
        self._new.append(element)

    def array(self) -> NDArray[Any]:
        """All elements."""
        if self._new:
            total = len(self)
            if total > len(self._settled):
                grown = np.zeros(2 * total, dtype=self._settled.dtype)
                grown[: self._length] = self._settled[: self._length]
                self._settled = grown
            self._settled[self._length : total] = np.array(self._new, dtype=self._settled.dtype)
            self._new, self._length = [], total
        return self._settled[: self._length]


class _Ids(dict[str, int]):
    """Number of a word; a new word is described first."""

    def __init__(self, describe: Callable[[str], None]) -> None:
        super().__init__()
        self._describe = describe

    def __missing__(self, word: str) -> int:
        self._describe(word)
        number = len(self)
        self[word] = number
        return number


def digest(word: str) -> int:
    """64 bits of a word, the same in every process."""
    return xxhash.xxh3_64_intdigest(word.encode())


def normal_words(text: str) -> list[str]:
    """Runs of letters and digits in lower case; characters of scripts without spaces one by one."""
    lower = text.lower()
    return (_PLAIN if lower.isascii() else _MIXED).findall(lower)


def ngrams(hashes: Hashes, size: int) -> Hashes:
    """Hash of every run of `size` words: (words - size + 1,), empty for shorter texts.

    A polynomial over hashes that are random already; 64 bits, so that two different runs of one corpus of 10^9 are
    taken for equal with a probability of about 0.03.
    """
    if len(hashes) < size:
        return hashes[:0]
    rolled = hashes
    for _ in range(size - 1):
        rolled = longer(rolled, hashes)
    return mixed(rolled)


def longer(grams: Hashes, hashes: Hashes) -> Hashes:
    """From unmixed hashes of n-grams to those of n-grams one word longer; none where there are none."""
    if len(grams) < 2:
        return grams[:0]
    return grams[:-1] * _MULTIPLIER + hashes[len(hashes) - len(grams) + 1 :]


_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: Hashes) -> Hashes:
    """A bijection that spreads every input bit over all output bits (the finaliser of MurmurHash3)."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values
