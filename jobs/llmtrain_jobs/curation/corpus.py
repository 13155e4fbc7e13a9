"""The prepared corpus: where each document stands. A document's number counts all records in the order of the input."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llmtrain.api.curation import Curation, Scope
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.prepare import Summary
from llmtrain_jobs.curation.reading.opened import Part


@dataclass(frozen=True)
class Chunk:
    """`first`: number of its first document."""

    part: int
    index: int
    first: int
    count: int


@dataclass(frozen=True)
class Corpus:
    """All parts with their summaries, in order."""

    layout: Layout
    parts: list[Part]
    summaries: list[Summary]

    @cached_property
    def chunks(self) -> list[list[Chunk]]:
        """Chunks of every part."""
        found, first = [], 0
        for part, summary in zip(self.parts, self.summaries, strict=True):
            row = []
            for index, count in enumerate(summary.records):
                row.append(Chunk(part.index, index, first, count))
                first += count
            found.append(row)
        return found

    @cached_property
    def count(self) -> int:
        """Records in all."""
        return sum(sum(summary.records) for summary in self.summaries)

    def span(self, part: int) -> slice:
        """Numbers of a part's documents."""
        chunks = self.chunks[part]
        return slice(chunks[0].first, chunks[-1].first + chunks[-1].count) if chunks else slice(0, 0)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Number of the first document of every part."""
        counts = [sum(summary.records) for summary in self.summaries]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])[:-1].astype(np.int64)

    @cached_property
    def offsets(self) -> list[int]:
        """Lines of its file before every part: what its records' numbers lack. Rows of Parquet are numbered already."""
        found, before = [], 0
        for index, (part, summary) in enumerate(zip(self.parts, self.summaries, strict=True)):
            first = index == 0 or self.parts[index - 1].file != part.file or not part.start
            before = 0 if first else before
            found.append(before)
            before += 0 if part.rows else summary.lines
        return found

    @cached_property
    def damaged(self) -> dict[str, str]:
        """Files that are damaged, and why: something ended the reading, or of all that is in one nothing could be read."""
        found, counts = dict[str, str](), dict[str, list[int]]()
        for part, summary in zip(self.parts, self.summaries, strict=True):
            if summary.damaged:
                found.setdefault(part.file, summary.damaged)
            count = counts.setdefault(part.file, [0, 0])
            count[0] += sum(summary.records)
            count[1] += summary.unread
        for file, (records, unread) in counts.items():
            if records and records == unread:
                found.setdefault(file, f"nothing in it can be read; {self.first_problems[file]}")
        return found

    @cached_property
    def first_problems(self) -> dict[str, str]:
        """The first bad record of every file that has one, and what is wrong with it."""
        found: dict[str, str] = {}
        for part, summary, before in zip(self.parts, self.summaries, self.offsets, strict=True):
            if summary.first_problem:
                found.setdefault(part.file, f"record {before + summary.first_number}: {summary.first_problem}")
        return found

    def all_chunks(self) -> Iterator[Chunk]:
        """In order."""
        for chunks in self.chunks:
            yield from chunks

    def sources(self) -> NDArray[np.int16]:
        """Index of every document's source."""
        counts = [sum(summary.records) for summary in self.summaries]
        return np.repeat(np.array([part.source for part in self.parts], dtype=np.int16), counts)


def scopes(curation: Curation) -> list[int]:
    """For every source the number of the scope that near-duplicates count within."""
    scope = curation.deduplication.min_hash.scope
    if scope is Scope.GLOBAL:
        return [0] * len(curation.sources)
    if scope is Scope.SOURCE:
        return list(range(len(curation.sources)))
    groups = sorted({source.group for source in curation.sources})
    return [groups.index(source.group) for source in curation.sources]
