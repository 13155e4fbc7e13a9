"""The steps of a curation as the driver leads them: what it asks of the workers, and what it keeps of the answers.

The driver holds about 100 bytes a document: what the rules say of it, its sizes, its key, its cluster.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.keys import artifact_key, signals_key
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation import tasks
from llmtrain_jobs.curation.contamination import Hit
from llmtrain_jobs.curation.corpus import Corpus, scopes
from llmtrain_jobs.curation.dedup.clusters import Shape, clusters_of, exact_pairs, shape_of
from llmtrain_jobs.curation.dedup.lsh import BandTask, Pairs
from llmtrain_jobs.curation.dedup.verify import EDGE, Edges, bundles_of, wanted_of
from llmtrain_jobs.curation.inputs import (
    benchmark_files,
    blocked_domains,
    fingerprint,
    source_fingerprint,
    takedown_list,
)
from llmtrain_jobs.curation.judge import Judged, Lists, joined
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.pool import Pool
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.parts import parts_of
from llmtrain_jobs.curation.telling import Teller

LSH_BYTES = 128_000_000
BUNDLE_BYTES = 64_000_000


@dataclass(frozen=True)
class Duplicates:
    """`first`: for every document the first with the same text; `clusters`: the first of its component."""

    first: NDArray[np.int64]
    clusters: NDArray[np.int64]
    candidates: int
    edges: Edges
    shape: Shape


class Flow:
    """One run of the stage."""

    def __init__(self, context: Context, pool: Pool, teller: Teller) -> None:
        """Finds out which work this run can share."""
        self.context, self.store, self.spec = context, context.store, context.config.spec
        self.curation, self.pool, self.teller = self.spec.curation, pool, teller
        self.layout = Layout(signals_key(self.spec, source_fingerprint(self.store, self.spec)))

    def prepare(self) -> Corpus:
        """Read the sources; parts that were read before are not read again."""
        parts = self._plan()
        arguments = [tasks.PrepareTask(self.layout, part) for part in parts]
        summaries = []
        for summary in self.teller.follow("prepare", self.pool.map(tasks.prepare, arguments), len(parts)):
            summaries.append(summary)
            self.teller.gauge("read_documents_total", sum(sum(s.records) for s in summaries))
            self.teller.gauge("read_bytes_total", sum(s.size for s in summaries))
            self.teller.gauge("bad_records_total", sum(s.problems for s in summaries))
        return Corpus(self.layout, parts, summaries)

    def _plan(self) -> list[Part]:
        if not self.store.exists(self.layout.plan):
            parts = parts_of(self.store, self.curation)
            self.store.write(self.layout.plan, json.dumps([asdict(part) for part in parts]).encode())
        return [Part(**entry) for entry in json.loads(self.store.read(self.layout.plan))]

    def contaminated(self, corpus: Corpus) -> list[Hit]:
        """Every document that holds a benchmark's item."""
        files = benchmark_files(self.spec)
        if not files:
            return []
        key = artifact_key({"benchmarks": files, "content": fingerprint(self.store, [file for _, file in files])})
        arguments = [
            tasks.PartTask(self.layout, part.index, chunks, key)
            for part, chunks in zip(corpus.parts, corpus.chunks, strict=True)
        ]
        found = self.teller.follow("decontaminate", self.pool.map(tasks.contamination, arguments), len(arguments))
        return [hit for hits in found for hit in hits]

    def judged(self, corpus: Corpus) -> Judged:
        """What the rules say of every document."""
        lists = Lists(takedown_list(self.store, self.spec), blocked_domains(self.store, self.spec))
        arguments = [tasks.JudgeTask(self.layout, chunks, lists) for chunks in corpus.chunks]
        found = list(self.teller.follow("judge", self.pool.map(tasks.judging, arguments), len(arguments)))
        return joined(found)

    def duplicates(self, corpus: Corpus, judged: Judged) -> Duplicates:
        """Clusters of exact and near-duplicates over the whole corpus."""
        spec = self.curation.deduplication
        exact = exact_pairs(judged.key_high, judged.key_low) if spec.exact else np.zeros((0, 2), dtype=np.int64)
        first = np.arange(corpus.count)
        first[exact[:, 1]] = exact[:, 0]
        key = artifact_key({"dedup": spec.to_dict(), "scopes": scopes(self.curation)})
        candidates = self._candidates(corpus, exact, key) if spec.min_hash.enabled else exact[:0]
        edges = self._verified(corpus, candidates, judged.kept, key)
        near = np.stack([edges["left"], edges["right"]], axis=1)
        clusters = clusters_of(corpus.count, np.concatenate([exact, near]))
        return Duplicates(first, clusters, len(candidates), edges, shape_of(clusters, near))

    def _candidates(self, corpus: Corpus, exact: Pairs, key: str) -> Pairs:
        """Repeats of a text stand behind its first document, unless documents are compared within sources only."""
        scope = np.array(scopes(self.curation), dtype=np.uint16)
        excluded = np.zeros(corpus.count, dtype=np.bool_)
        if len(set(scope.tolist())) == 1:
            excluded[exact[:, 1]] = True
        documents = self.layout.step("dedup", key, "documents.npz")
        self.store.write(documents, tasks.arrays_bytes(excluded=excluded, scopes=scope[corpus.sources()]))
        divisor = max(1, -(-corpus.count * 16 // LSH_BYTES))
        chunks = list(corpus.all_chunks())
        arguments = [
            tasks.LshTask(self.layout, key, chunks, documents, BandTask(band, remainder, divisor))
            for band in range(self.curation.deduplication.min_hash.bands)
            for remainder in range(divisor)
        ]
        found = np.zeros((0, 2), dtype=np.int64)
        for name in self.teller.follow("lsh", self.pool.map(tasks.lsh, arguments), len(arguments), "bands"):
            found = np.unique(np.concatenate([found, tasks.load_array(self.store.read(name))]), axis=0)
        return found

    def _verified(self, corpus: Corpus, pairs: Pairs, sizes: NDArray[np.int64], key: str) -> Edges:
        """Candidates that are similar enough."""
        bundles = bundles_of(pairs, sizes, BUNDLE_BYTES)
        wanted = wanted_of(bundles, corpus.starts)
        arguments = [
            tasks.GatherTask(self.layout, key, part.index, corpus.chunks[part.index], wanted[part.index])
            for part in corpus.parts
            if len(wanted[part.index].documents)
        ]
        ends = list(self.teller.follow("gather", self.pool.map(tasks.gathering, arguments), len(arguments)))
        verifications = [
            tasks.VerifyTask(self.layout, key, bundle, own, _stretches(arguments, ends, bundle))
            for bundle, own in enumerate(bundles)
        ]
        found = self.pool.map(tasks.verification, verifications)
        edges = list(self.teller.follow("verify", found, len(verifications), "bundles"))
        return np.concatenate([np.zeros(0, dtype=EDGE), *edges])


def _stretches(
    gathered: Sequence[tasks.GatherTask], ends: Sequence[list[int]], bundle: int
) -> list[tuple[int, int, int]]:
    found = []
    for task, own in zip(gathered, ends, strict=True):
        start = own[bundle - 1] if bundle else 0
        if own[bundle] > start:
            found.append((task.part, start, own[bundle]))
    return found


def digest(data: bytes) -> str:
    """16 hex digits."""
    return hashlib.sha256(data).hexdigest()[:16]
