"""From fates to the artifact: tokenizer, tokens, shards."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.keys import artifact_key
from llmtrain_jobs.curation import tasks
from llmtrain_jobs.curation.corpus import Corpus
from llmtrain_jobs.curation.decide import Verdicts, most_taken
from llmtrain_jobs.curation.encode import OUT, SPLITS, TRAIN, VALIDATION, Encoded, part_key, places
from llmtrain_jobs.curation.flow import Flow, digest
from llmtrain_jobs.curation.judge import HELD_OUT, KEPT, Judged
from llmtrain_jobs.curation.provenance import Origins
from llmtrain_jobs.curation.repeats import Repeats
from llmtrain_jobs.curation.shards import PartTokens, shard_tasks
from llmtrain_jobs.curation.signals.hashing import mixed
from llmtrain_jobs.curation.tokens import (
    dtype_of,
    end_of,
    given_tokenizer,
    loaded_tokenizer,
    table_size,
    unigram_bits_per_byte,
)
from llmtrain_jobs.errors import bad_input

TRIED_BYTES = 1_000_000
"""Text that a given tokenizer is tried on."""


@dataclass(frozen=True)
class EncodedPart:
    """A part's tokens in both splits."""

    part: int
    key: str
    splits: list[Encoded]


@dataclass(frozen=True)
class Published:
    """What training, evaluation and the report need to know."""

    tokenizer: bytes
    vocabulary_size: int
    end: int
    parts: list[EncodedPart]

    @property
    def dtype(self) -> str:
        """Of the tokens."""
        return dtype_of(self.vocabulary_size)

    def total(self, split: str, field: str) -> int:
        """Sum of a field over all parts of a split."""
        return sum(int(getattr(e, field)) for part in self.parts for e in part.splits if e.split == split)

    @property
    def round_trip_share(self) -> float:
        """Share of all documents that come back from their tokens."""
        same, documents = (sum(self.total(split, field) for split in SPLITS) for field in ("returned", "documents"))
        return same / documents if documents else 1.0


def splits_of(verdicts: Verdicts) -> NDArray[np.uint8]:
    """Split of every document."""
    splits = np.full(len(verdicts.fate), OUT, dtype=np.uint8)
    splits[verdicts.fate == verdicts.names.index(KEPT)] = TRAIN
    splits[verdicts.fate == verdicts.names.index(HELD_OUT)] = VALIDATION
    return splits


def publish(
    flow: Flow, corpus: Corpus, judged: Judged, verdicts: Verdicts, sampled: NDArray[np.bool_], repeats: Repeats
) -> Published:
    """Tokenizer and tokens of every part. `sampled`: documents that the tokenizer may be trained on."""
    splits = splits_of(verdicts)
    train, held = int((splits == TRAIN).sum()), int((splits == VALIDATION).sum())
    if not train or not held:
        raise bad_input(f"filters and split leave {train} training and {held} validation documents of {corpus.count}"
                        f"{most_taken(verdicts)}; add sources or relax `spec.curation.filters`", "NothingKept")  # fmt: skip
    sample = write_sample(flow, corpus, judged, sampled, repeats)
    tokenizer = tokenizer_of(flow, sample)
    name = flow.layout.step("tokenizer", digest(tokenizer), "tokenizer.json")
    flow.store.write(name, tokenizer)
    check_sample(flow, sample, name)
    arguments = [
        tasks.EncodeTask(
            flow.layout, part_key(tokenizer, own, repeats.key), part.index, corpus.chunks[part.index], own, name,
            repeats.file(part.index),
        )
        for part in corpus.parts
        if (own := splits[corpus.span(part.index)]).any()
    ]  # fmt: skip
    results = flow.teller.follow("encode", flow.pool.map(tasks.encoding, arguments), len(arguments))
    parts = [EncodedPart(task.part, task.key, found) for task, found in zip(arguments, results, strict=False)]
    loaded = loaded_tokenizer(tokenizer)
    published = Published(tokenizer, table_size(loaded), end_of(loaded, flow.curation), parts)
    check_share(flow, published.round_trip_share)
    return published


@dataclass(frozen=True)
class Sample:
    """Files of the texts that a tokenizer is trained on, or tried on; `key` names what they depend on."""

    key: str
    files: list[str]


def write_sample(flow: Flow, corpus: Corpus, judged: Judged, sampled: NDArray[np.bool_], repeats: Repeats) -> Sample:
    """Texts drawn by the sources' weights, of a given tokenizer a few."""
    spec = flow.curation.tokenizer
    most = min(spec.train.sample_bytes, TRIED_BYTES) if spec.file else spec.train.sample_bytes
    weights = [float(source.weight) for source in flow.curation.sources]
    chosen = sample_of(judged, sampled, corpus.sources(), weights, most, flow.spec.seed)
    drawn = digest(np.packbits(chosen).tobytes() + repeats.key.encode())
    key = artifact_key({"tokenizer": spec.train.to_dict(), "sample": drawn})
    arguments = [
        tasks.SampleTask(flow.layout, key, part.index, corpus.chunks[part.index], own, repeats.file(part.index))
        for part in corpus.parts
        if (own := chosen[corpus.span(part.index)]).any()
    ]
    files = flow.teller.follow("sample", flow.pool.map(tasks.sampling, arguments), len(arguments))
    return Sample(key, list(files))


def tokenizer_of(flow: Flow, sample: Sample) -> bytes:
    """The given tokenizer, or one trained on the sample."""
    spec = flow.curation.tokenizer
    if spec.file:
        return read_given(flow)
    task = tasks.TrainTask(sample.files, flow.layout.step("sample", sample.key, "tokenizer.json"))
    trained: list[bytes] = list(flow.teller.follow("tokenizer", flow.pool.map(tasks.tokenizer_training, [task]), 1))
    return trained[0]


def read_given(flow: Flow) -> bytes:
    """The given tokenizer as it is used; raises bad input where it is none. Empty: none is given."""
    spec = flow.curation.tokenizer
    if not spec.file:
        return b""
    with flow.store.open(spec.file) as file:
        return given_tokenizer(file.read(), spec.file, spec.train.special_tokens[0]).to_str().encode()


def check_sample(flow: Flow, sample: Sample, tokenizer: str) -> None:
    """Texts of the sample come back from their tokens, before all documents are encoded."""
    task = tasks.TrainTask(sample.files, tokenizer)
    check_share(flow, next(iter(flow.pool.map(tasks.round_trip, [task]))))


def check_share(flow: Flow, share: float) -> None:
    """Raises bad input where fewer texts than asked for come back from their tokens."""
    least = Decimal(flow.curation.tokenizer.min_round_trip_share)
    if Decimal(str(share)) < least:
        field = "spec.curation.tokenizer"
        raise bad_input(
            f"`{field}`: a share of {share:.9g} of the texts come back from their tokens as they were, "
            f"`{field}.minRoundTripShare` asks for {least}",
            "TokensLoseText",
        )


def sample_of(
    judged: Judged, wanted: NDArray[np.bool_], sources: NDArray[np.int16], weights: list[float], most: int, seed: int
) -> NDArray[np.bool_]:
    """Documents drawn at random by their content: of each source bytes in proportion to its size times its weight."""
    chosen = np.zeros(len(wanted), dtype=np.bool_)
    sizes = [weight * float(judged.kept[wanted & (sources == index)].sum()) for index, weight in enumerate(weights)]
    drawn = mixed(judged.key_low ^ mixed(judged.key_high + np.uint64(seed)))
    for index, size in enumerate(sizes):
        own = np.flatnonzero(wanted & (sources == index))
        ordered = own[np.argsort(drawn[own], kind="stable")]
        budget = most * size / max(1.0, sum(sizes))
        before = np.cumsum(judged.kept[ordered]) - judged.kept[ordered]
        chosen[ordered[before < budget]] = True
    return chosen


def write_shards(flow: Flow, corpus: Corpus, published: Published, artifact: str) -> list[dict[str, Any]]:
    """Write the shards of both splits into the artifact; their entries in its manifest."""
    jobs = []
    for number, split in enumerate(SPLITS):
        for index, source in enumerate(flow.curation.sources):
            own = [p for p in published.parts if corpus.parts[p.part].source == index]
            parts = [PartTokens(p.part, p.key, p.splits[number].tokens) for p in own if p.splits[number].tokens]
            jobs += [
                tasks.ShardJob(flow.layout, artifact, task, published.dtype)
                for task in shard_tasks(split, source.name, parts)
            ]
    listed = flow.teller.follow("shards", flow.pool.map(tasks.sharding, jobs), len(jobs), "shards")
    return [entry for entries in listed for entry in entries]


def write_files(flow: Flow, artifact: str, files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Write small files into the artifact; their entries in its manifest."""
    return [tasks.write_file(flow.store, artifact, name, data) for name, data in sorted(files.items())]


def write_provenance(
    flow: Flow, corpus: Corpus, verdicts: Verdicts, clusters: NDArray[np.int64], artifact: str
) -> list[dict[str, Any]]:
    """Write where every kept document comes from; entries in the manifest."""
    splits = splits_of(verdicts)
    arguments = []
    for part in corpus.parts:
        span, source = corpus.span(part.index), flow.curation.sources[part.source]
        if splits[span].any():
            before = corpus.offsets[part.index]
            origins = Origins(part.file, source.name, source.licence, splits[span], clusters[span], before)
            arguments.append(
                tasks.ProvenanceTask(flow.layout, artifact, part.index, corpus.chunks[part.index], origins)
            )
    results = flow.pool.map(tasks.telling_provenance, arguments)
    return list(flow.teller.follow("provenance", results, len(arguments)))


def counts_of(flow: Flow, corpus: Corpus, published: Published) -> dict[str, Any]:
    """Counts of the manifest."""
    occurrences = [np.zeros(published.vocabulary_size, dtype=np.int64) for _ in SPLITS]
    for part in published.parts:
        for number, split in enumerate(SPLITS):
            counts = places(part.key, flow.layout, part.part, split)[2]
            occurrences[number] += np.frombuffer(flow.store.read(counts), dtype=np.int64)
    held = published.total("validation", "bytes")
    return {
        "vocabulary_size": published.vocabulary_size,
        "dtype": published.dtype,
        "end_of_text": published.end,
        "round_trip_share": published.round_trip_share,
        "train_tokens": published.total("train", "tokens"),
        "validation_tokens": published.total("validation", "tokens"),
        "validation_bytes": held,
        "unigram_bits_per_byte": round(unigram_bits_per_byte(occurrences[0], occurrences[1], held), 6),
        "documents": corpus.count,
        "kept_documents": published.total("train", "documents"),
        "sources": source_tokens(flow, corpus, published),
    }


def source_tokens(flow: Flow, corpus: Corpus, published: Published) -> dict[str, dict[str, Any]]:
    """Training tokens, bytes and weight of every source, and its fertility: tokens per byte."""
    found = {}
    for index, source in enumerate(flow.curation.sources):
        own = [p.splits[0] for p in published.parts if corpus.parts[p.part].source == index]
        tokens, size = sum(e.tokens for e in own), sum(e.bytes for e in own)
        found[source.name] = {
            "tokens": tokens, "bytes": size, "weight": source.weight,
            "tokens_per_byte": round(tokens / size, 6) if size else None,
        }  # fmt: skip
    return found
