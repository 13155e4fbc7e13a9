"""Memory-mapped token shards of one source, cut into windows that are drawn in an order of their own in each pass."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DTYPES = ("uint16", "uint32")
FEISTEL_ROUNDS = 6


class ShardError(Exception):
    """A shard cannot be used; the message names it."""


class TooShortError(ShardError):
    """No shard of a source holds a whole sequence."""


def map_shard(path: Path, dtype: str) -> NDArray[np.uint32]:
    """A shard's tokens, mapped. Raises ShardError where the file is no whole number of tokens."""
    if dtype not in DTYPES:
        raise ShardError(f"shards of dtype `{dtype}` are not known; allowed are {', '.join(DTYPES)}")
    kind = np.dtype(dtype).newbyteorder("<")
    size = path.stat().st_size
    if size % kind.itemsize:
        raise ShardError(f"shard `{path.name}` has {size} bytes, which is no multiple of {kind.itemsize}")
    if size == 0:
        return np.zeros(0, dtype=kind)
    mapped: NDArray[np.uint32] = np.memmap(path, dtype=kind, mode="r")
    return mapped


def permuted(indices: NDArray[np.int64], count: int, seed: int, stream: int, epoch: int) -> NDArray[np.int64]:
    """Places of `indices` in a pseudo-random order of 0..count-1: no memory is spent on the order, whatever the count.

    A balanced Feistel network over the next even power of two, walked until it lands inside (Black and Rogaway 2002,
    cycle walking). Its rounds are keyed by a mix of seed, source and pass.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    keys = _mix(np.arange(FEISTEL_ROUNDS, dtype=np.uint64), _key(seed, stream, epoch))
    places = _feistel(indices.astype(np.uint64), keys, half)
    while (outside := places >= count).any():
        places[outside] = _feistel(places[outside], keys, half)
    return places.astype(np.int64)


def _feistel(values: NDArray[np.uint64], keys: NDArray[np.uint64], half: int) -> NDArray[np.uint64]:
    mask, shift = np.uint64((1 << half) - 1), np.uint64(half)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right, key) & mask)
    return left << shift | right


def _key(*values: int) -> np.uint64:
    key = np.zeros(1, dtype=np.uint64)
    for value in values:
        key = _mix(key, np.uint64(value))
    return np.uint64(key[0])


def _mix(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """splitmix64 (Steele et al. 2014) of values and a key; unsigned integers wrap."""
    state = (values + np.full_like(values, key)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return state ^ state >> np.uint64(31)


class Source:
    """Windows of `context` + 1 tokens of one source; sample = f(seed, cursor)."""

    def __init__(self, name: str, number: int, shards: Sequence[Path], dtype: str, context: int, seed: int) -> None:
        """`number` makes the order of this source its own. Raises TooShortError where no shard holds a window."""
        self.name, self._number, self._context, self._seed = name, number, context, seed
        self._arrays = [map_shard(shard, dtype) for shard in shards]
        counts = [max(0, (len(array) - 1) // context) for array in self._arrays]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self.windows = int(self._ends[-1]) if len(counts) else 0
        self.tokens = sum(len(array) for array in self._arrays)
        if self.windows == 0:
            longest = max((len(array) for array in self._arrays), default=0)
            raise TooShortError(
                f"source `{name}`: a sequence needs {context + 1} tokens, its longest shard has {longest}; "
                "lower `model.contextLength` or add documents"
            )

    def read(self, cursors: Sequence[int]) -> NDArray[np.int64]:
        """The windows at some cursors, (n, context + 1). Each pass over the source sees every window once."""
        places = np.asarray(cursors, dtype=np.int64)
        epochs, indices = np.divmod(places, self.windows)
        for epoch in np.unique(epochs):
            mine = epochs == epoch
            places[mine] = permuted(indices[mine], self.windows, self._seed, self._number, int(epoch))
        return np.stack([self._window(int(place)) for place in places])

    def check_vocabulary(self, size: int, sample: int = 4_000_000) -> None:
        """Look for tokens that the model does not have, in the first `sample` tokens of each shard."""
        for number, array in enumerate(self._arrays):
            largest = int(array[:sample].max(initial=0))
            if largest >= size:
                raise ShardError(
                    f"source `{self.name}`, shard {number}: token {largest} is beyond the model's vocabulary of {size}; "
                    "the shards were made with another tokenizer"
                )

    def _window(self, index: int) -> NDArray[np.int64]:
        shard = int(np.searchsorted(self._ends, index, side="right"))
        first = index - (int(self._ends[shard - 1]) if shard else 0)
        start = first * self._context
        return np.asarray(self._arrays[shard][start : start + self._context + 1], dtype=np.int64)
