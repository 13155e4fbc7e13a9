"""Which tokens a step sees: a pure function of seed and position, so that resuming and resizing are exact."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Windows:
    """Windows of `context` + 1 tokens over memory-mapped shards."""

    def __init__(self, shards: Sequence[Path], dtype: str, context: int, seed: int) -> None:
        """`dtype` is numpy's name; shards are raw little-endian tokens."""
        self._arrays = [np.memmap(shard, dtype=np.dtype(dtype).newbyteorder("<"), mode="r") for shard in shards]
        self._context, self._seed = context, seed
        counts = [max(0, (len(array) - 1) // context) for array in self._arrays]
        self._ends = np.cumsum(counts)
        self.count = int(self._ends[-1])
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def batch(self, samples: Sequence[int]) -> NDArray[np.int64]:
        """Windows of these global sample numbers: (B, T+1)."""
        return np.stack([self._window(self._place(sample)) for sample in samples])

    def _place(self, sample: int) -> int:
        """Each pass over the data has an order of its own."""
        epoch, index = divmod(sample, self.count)
        if epoch != self._epoch:
            generator = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
            self._epoch, self._order = epoch, generator.permutation(self.count)
        return int(self._order[index])

    def _window(self, index: int) -> NDArray[np.int64]:
        shard = int(np.searchsorted(self._ends, index, side="right"))
        first = index - (int(self._ends[shard - 1]) if shard else 0)
        start = first * self._context
        return np.asarray(self._arrays[shard][start : start + self._context + 1], dtype=np.int64)


def samples_of(step: int, batch: int, rank: int, world: int) -> range:
    """Global sample numbers of one rank in one step; all ranks together see the same for any world size."""
    share = batch // world
    first = step * batch + rank * share
    return range(first, first + share)
