"""Which tokens go through the model together: a pure function of the requests, the model and a budget.

Nothing here knows how many workers there are, so that the same batches, and with them the same bits, come out for one
worker and for many. Sequences that begin alike are packed into one row as a tree: the shared beginning (a question and
its examples) is computed once and every continuation attends to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_TREE_TOKENS = 4096
"""Rows with branches need a mask of length x length entries; longer ones are not packed."""
PAIR_COST_WIDTHS = 6
"""A token's matrices cost 24 D^2 operations a layer, an attended pair 4 D: a token weighs as much as 6 D pairs."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Tokens of which the last `scored` are to be predicted from those before; at least one stands before them."""

    tokens: tuple[int, ...]
    scored: int

    @property
    def inputs(self) -> tuple[int, ...]:
        """What the model reads: the last token is only predicted."""
        return self.tokens[:-1]


@dataclass
class Row:
    """A tree of tokens, depth first. Token k is seen by the tokens k..ends[k]-1, its own subtree."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    picks: list[tuple[int, list[int]]] = field(default_factory=list)
    path: list[int] = field(default_factory=list)
    is_chain: bool = True

    def shared(self, inputs: tuple[int, ...]) -> int:
        """How many tokens of `inputs` the newest path has already."""
        count = 0
        for index, token in zip(self.path, inputs, strict=False):
            if self.tokens[index] != token:
                break
            count += 1
        return count

    def add(self, request: int, sequence: Scored) -> None:
        """Hang a sequence into the tree."""
        inputs = sequence.inputs
        keep = self.shared(inputs)
        # Plain causal attention will do as long as no token has two continuations.
        self.is_chain = self.is_chain and keep == len(self.path)
        self._cut(keep)
        for token in inputs[len(self.path) :]:
            self.positions.append(len(self.path))
            self.path.append(len(self.tokens))
            self.tokens.append(token)
            self.ends.append(0)
        self.picks.append((request, self.path[len(inputs) - sequence.scored : len(inputs)]))

    def close(self) -> None:
        """No further sequence follows."""
        self._cut(0)

    def _cut(self, keep: int) -> None:
        for index in self.path[keep:]:
            self.ends[index] = len(self.tokens)
        del self.path[keep:]


@dataclass(frozen=True)
class Batch:
    """Padded rows, and where in them the requests' answers are read.

    G rows, L tokens, N picked places over all requests; `requests[i]` owns the places offsets[i]..offsets[i+1].
    """

    tokens_GL: Integers
    positions_GL: Integers
    ends_GL: Integers | None
    rows_N: Integers
    columns_N: Integers
    targets_N: Integers
    offsets: Integers
    requests: Integers

    @property
    def size(self) -> int:
        """Tokens that the model computes, padding included."""
        return int(self.tokens_GL.size)


def make_plan(sequences: Sequence[Scored], width: int, budget: int) -> list[Batch]:
    """Batches of at most `budget` tokens (or one row), longest rows first. `width` is the model's embedding, D."""
    rows = pack(sequences, width, budget)
    order = sorted(rows, key=lambda row: (row.is_chain, -len(row.tokens)))
    batches: list[list[Row]] = []
    for row in order:
        last = batches[-1] if batches else None
        fits = last and (len(last) + 1) * len(last[0].tokens) <= budget and last[0].is_chain == row.is_chain
        if last is not None and fits:
            last.append(row)
        else:
            batches.append([row])
    return [_batch(batch, sequences) for batch in batches]


def pack(sequences: Sequence[Scored], width: int, budget: int) -> list[Row]:
    """Trees of sequences that begin alike, where that costs less than computing them apart."""
    rows: list[Row] = []
    for request in sorted(range(len(sequences)), key=lambda index: sequences[index].inputs):
        sequence = sequences[request]
        if not rows or not _joins(rows[-1], sequence, width, budget):
            rows.append(Row())
        rows[-1].add(request, sequence)
    for row in rows:
        row.close()
    return rows


def _joins(row: Row, sequence: Scored, width: int, budget: int) -> bool:
    inputs, before = sequence.inputs, len(row.tokens)
    shared = row.shared(inputs)
    added = len(inputs) - shared
    if added == 0 or shared == len(row.path):
        return before + added <= max(budget, len(inputs))
    if before + added > min(budget, MAX_TREE_TOKENS):
        return False
    pairs = (before + added) ** 2 - before**2 - len(inputs) ** 2
    return shared * PAIR_COST_WIDTHS * width > pairs


def _batch(rows: list[Row], sequences: Sequence[Scored]) -> Batch:
    length = max(len(row.tokens) for row in rows)
    branched = not all(row.is_chain for row in rows)
    picks = [(number, request, places) for number, row in enumerate(rows) for request, places in row.picks]
    targets = [token for _, request, _ in picks for token in sequences[request].tokens[-sequences[request].scored :]]
    return Batch(
        tokens_GL=_padded([row.tokens for row in rows], length),
        positions_GL=_padded([row.positions for row in rows], length),
        ends_GL=_padded([row.ends for row in rows], length, own=True) if branched else None,
        rows_N=_flat([[number] * len(places) for number, _, places in picks]),
        columns_N=_flat([places for _, _, places in picks]),
        targets_N=np.asarray(targets, dtype=np.int64),
        offsets=np.cumsum([0, *(len(places) for _, _, places in picks)]),
        requests=np.asarray([request for _, request, _ in picks], dtype=np.int64),
    )


def _padded(rows: list[list[int]], length: int, own: bool = False) -> Integers:
    """Right-padded with zeros; `own`: with one more than the index, so that padding is seen by itself alone."""
    filling = np.arange(1, length + 1) if own else np.zeros(length, dtype=np.int64)
    padded: Integers = np.tile(filling.astype(np.int64), (len(rows), 1))
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded


def _flat(parts: list[list[int]]) -> Integers:
    return np.asarray([value for part in parts for value in part], dtype=np.int64)


def sizes(batches: Sequence[Batch]) -> dict[str, Any]:
    """What a plan costs, for the report."""
    return {"batches": len(batches), "tokens": sum(batch.size for batch in batches)}
