"""The tokens of each step: a pure function of seed and cursors, the same for any number of processes."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.training.mixture import Cursors, draw
from llmtrain_jobs.training.shards import Source
from llmtrain_jobs.training.timeline import StepShape

Chosen = list[tuple[int, int]]
"""Windows as (source, cursor)."""
IGNORED = -100
"""Target that no loss is taken of, as in torch's cross-entropy."""


@dataclass(frozen=True)
class Batch:
    """Sequences of one process, or its part of each: tokens and targets (B, T).

    `segments` (B, S) numbers the documents of each whole sequence, or is None.
    """

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    segments: NDArray[np.int64] | None = None

    @property
    def valid(self) -> int:
        """Targets that a loss is taken of."""
        return int((self.targets != IGNORED).sum())

    def part(self, start: int, size: int) -> "Batch":
        """Rows `start` to `start + size`; a batch that is exhausted gives one row whose targets are all ignored."""
        if start >= len(self.tokens):
            row = slice(0, 1)
            return Batch(self.tokens[row], np.full_like(self.targets[row], IGNORED), _rows(self.segments, row))
        row = slice(start, start + size)
        return Batch(self.tokens[row], self.targets[row], _rows(self.segments, row))

    def section(self, index: int, count: int) -> "Batch":
        """One of `count` equal parts of every sequence; `segments` stay whole, since attention sees beyond the part."""
        length = self.tokens.shape[1] // count
        own = slice(index * length, (index + 1) * length)
        return Batch(
            np.ascontiguousarray(self.tokens[:, own]), np.ascontiguousarray(self.targets[:, own]), self.segments
        )


def _rows(segments: NDArray[np.int64] | None, rows: slice) -> NDArray[np.int64] | None:
    return None if segments is None else segments[rows]


class TokenStream:
    """Sources, their shares in each phase, and a position."""

    def __init__(self, sources: Sequence[Source], weights: Sequence[Sequence[int]],
                 mask_after: int | None = None) -> None:  # fmt: skip
        """`weights[phase][source]` as integers; `mask_after` is the end-of-document token where documents are masked."""
        self._sources, self._weights, self._end = list(sources), weights, mask_after
        self.cursors = Cursors([0] * len(self._sources))
        self.digest = b"\0" * 32

    def advance(self, shape: StepShape) -> Chosen:
        """The windows of a step as (source, cursor); moves on."""
        return draw(self.cursors, shape.phase, self._weights[shape.phase], shape.windows)

    def peek(self, shape: StepShape) -> Chosen:
        """The same without moving on."""
        return draw(self.cursors.copy(), shape.phase, self._weights[shape.phase], shape.windows)

    def record(self, chosen: Chosen, length: int) -> None:
        """Chain the step's windows into the digest of the token stream, which every process computes alike.

        A window's tokens are a function of source, cursor and seed, so that these stand for the tokens themselves.
        """
        data = np.asarray([(length, length), *chosen], dtype="<i8").tobytes()
        self.digest = hashlib.sha256(self.digest + data).digest()

    def share(self, chosen: Chosen, shape: StepShape, rank: int, world: int) -> Batch:
        """The sequences of one of `world` data-parallel processes; shares differ by one window at most."""
        first, last = len(chosen) * rank // world, len(chosen) * (rank + 1) // world
        # A process without a window computes one that counts for nothing: collectives need everybody.
        idle = first == last
        batch = self._cut(self._read(chosen[:1] if idle else chosen[first:last]), shape.length)
        return batch.part(len(batch.tokens), 1) if idle else batch

    def _read(self, chosen: Chosen) -> NDArray[np.int64]:
        """Windows in the order of `chosen`, read source by source."""
        windows: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)] * len(chosen)
        for number, source in enumerate(self._sources):
            rows = [row for row, (from_source, _) in enumerate(chosen) if from_source == number]
            if rows:
                for row, window in zip(rows, source.read([chosen[row][1] for row in rows]), strict=True):
                    windows[row] = window
        return np.stack(windows)

    def _cut(self, windows: NDArray[np.int64], length: int) -> Batch:
        """Windows (W, context + 1) as sequences of `length`, with the token after each position as its target."""
        tokens = np.ascontiguousarray(windows[:, :-1]).reshape(-1, length)
        targets = np.ascontiguousarray(windows[:, 1:]).reshape(-1, length)
        if self._end is None:
            return Batch(tokens, targets)
        return mask_documents(tokens, targets, self._end)


def mask_documents(tokens: NDArray[np.int64], targets: NDArray[np.int64], end: int) -> Batch:
    """Number the documents of each row; what follows an end-of-document token cannot be predicted from it."""
    ends = tokens == end
    segments = np.zeros_like(tokens)
    segments[:, 1:] = np.cumsum(ends[:, :-1], axis=1)
    return Batch(tokens, np.where(ends, IGNORED, targets), segments)


class Ahead:
    """Reads the next step's share while this one is computed."""

    def __init__(self, stream: TokenStream, rank: int, world: int, section: int = 0, sections: int = 1) -> None:
        """For one data-parallel process, or for those that divide its sequences into `sections`."""
        self._stream, self._rank, self._world = stream, rank, world
        self._section, self._sections = section, sections
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="data")
        self._pending: tuple[Chosen, StepShape, Future[Batch]] | None = None

    def take(self, shape: StepShape) -> Batch:
        """This step's share; moves the stream on."""
        chosen = self._stream.advance(shape)
        self._stream.record(chosen, shape.length)
        pending, self._pending = self._pending, None
        if pending and pending[:2] == (chosen, shape):
            return pending[2].result()
        return self._read(chosen, shape)

    def prepare(self, shape: StepShape) -> None:
        """Start to read a step's share; nothing moves, and what turns out to be another step is forgotten."""
        chosen = self._stream.peek(shape)
        reading = self._pool.submit(self._read, chosen, shape)
        self._pending = chosen, shape, reading

    def _read(self, chosen: Chosen, shape: StepShape) -> Batch:
        return self._stream.share(chosen, shape, self._rank, self._world).section(self._section, self._sections)

    def close(self) -> None:
        """No more reading."""
        self._pool.shutdown(wait=True)
