"""What runs on the workers: one function a step. Arguments and results are small; documents go through storage."""

import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.curation.contamination import Benchmarks, Hit, read_items
from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.dedup.lsh import BandTask, Pairs, candidates
from llmtrain_jobs.curation.dedup.paragraphs import PARAGRAPH, Paragraphs, paragraphs_in, repeats_among
from llmtrain_jobs.curation.dedup.verify import EDGE, Edges, Wanted, gather, verify
from llmtrain_jobs.curation.encode import Encoded, encode_part, texts_of
from llmtrain_jobs.curation.inputs import benchmark_files
from llmtrain_jobs.curation.judge import Judged, Lists, judge
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.prepare import Summary, prepare_part
from llmtrain_jobs.curation.provenance import Origins, provenance
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.shards import ShardTask, read_range, write_shard
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.curation.site import Site, site_of
from llmtrain_jobs.curation.tables import encoded, read_table, strings
from llmtrain_jobs.curation.tokens import end_of, loaded_tokenizer, round_trip_share, train_tokenizer

Config = dict[str, Any]
ROUND_TRIP_TEXTS = 200


@dataclass(frozen=True)
class PrepareTask:
    """A part to prepare."""

    layout: Layout
    part: Part


def prepare(config: Config, task: PrepareTask) -> Summary:
    """Prepare a part, or find it prepared."""
    site, name = site_of(config), task.layout.part(task.part.index)
    if site.store.exists(name):
        return Summary.load(site.store.read(name))
    return prepare_part(site.store, site.curation, task.layout, task.part, site.preparer)


@dataclass(frozen=True)
class PartTask:
    """A prepared part."""

    layout: Layout
    part: int
    chunks: list[Chunk]
    key: str = ""


def contamination(config: Config, task: PartTask) -> list[Hit]:
    """Hits of a part's documents."""
    site = site_of(config)
    name = task.layout.step("contamination", task.key, f"{task.part:06d}.json")
    if site.store.exists(name):
        return [Hit(**hit) for hit in json.loads(site.store.read(name))]
    benchmarks = Benchmarks(read_items(site.store, benchmark_files(site.config.spec)))
    hits = []
    for chunk in task.chunks:
        texts = strings(read_table(site.store, task.layout.chunk(chunk.part, chunk.index, "text")), "text")
        for row, text in enumerate(texts):
            hits += benchmarks.hits(chunk.first + row, normal_hashes(text))
    site.store.write(name, json.dumps([asdict(hit) for hit in hits]).encode())
    return hits


@dataclass(frozen=True)
class JudgeTask:
    """A prepared part and the lists that it is held against."""

    layout: Layout
    chunks: list[Chunk]
    lists: Lists


def judging(config: Config, task: JudgeTask) -> Judged:
    """Rules over a part's signals."""
    site = site_of(config)
    return judge(site.store, task.layout, site.curation, task.chunks, task.lists)


@dataclass(frozen=True)
class LshTask:
    """A band of all chunks. `documents`: file with what is excluded and the scope of every document."""

    layout: Layout
    key: str
    chunks: list[Chunk]
    documents: str
    band: BandTask


def lsh(config: Config, task: LshTask) -> str:
    """Write a band's candidates; the name of their file."""
    store, band = site_of(config).store, task.band
    name = task.layout.step("dedup", task.key, f"candidates-{band.band:03d}-{band.remainder:04d}.npy")
    if not store.exists(name):
        loaded = load_arrays(store.read(task.documents))
        found = candidates(store, task.layout, task.chunks, band, loaded["excluded"], loaded["scopes"])
        store.write(name, array_bytes(found))
    return name


@dataclass(frozen=True)
class GatherTask:
    """The wanted documents of a part."""

    layout: Layout
    key: str
    part: int
    chunks: list[Chunk]
    wanted: Wanted


def gathering(config: Config, task: GatherTask) -> list[int]:
    """Write a part's shingles by bundle; where each bundle ends."""
    site = site_of(config)
    ends = task.layout.step("dedup", task.key, f"shingles-{task.part:06d}.json")
    if site.store.exists(ends):
        found: list[int] = json.loads(site.store.read(ends))
        return found
    name, size = shingle_file(task.layout, task.key, task.part), site.curation.deduplication.min_hash.shingle_words
    found = gather(site.store, task.layout, task.chunks, task.wanted, size, lambda data: site.store.write(name, data))
    site.store.write(ends, json.dumps(found).encode())
    return found


def shingle_file(layout: Layout, key: str, part: int) -> str:
    """Where a part's shingles lie."""
    return layout.step("dedup", key, f"shingles-{part:06d}.bin")


@dataclass(frozen=True)
class VerifyTask:
    """A bundle of pairs. `stretches`: (part, start, end) of its documents' shingles."""

    layout: Layout
    key: str
    bundle: int
    pairs: Pairs
    stretches: list[tuple[int, int, int]]


def verification(config: Config, task: VerifyTask) -> Edges:
    """Pairs of a bundle that are similar enough."""
    site = site_of(config)
    name = task.layout.step("dedup", task.key, f"edges-{task.bundle:06d}.npy")
    if not site.store.exists(name):
        least = float(site.curation.deduplication.min_hash.min_jaccard)
        site.store.write(name, verify(_blocks(site, task), task.pairs, least).tobytes())
    return np.frombuffer(site.store.read(name), dtype=EDGE)


def _blocks(site: Site, task: VerifyTask) -> Iterator[bytes]:
    for part, start, end in task.stretches:
        yield read_range(site.store, shingle_file(task.layout, task.key, part), start, end - start)


@dataclass(frozen=True)
class ParagraphTask:
    """The documents of a part that stay."""

    layout: Layout
    key: str
    part: int
    chunks: list[Chunk]
    wanted: NDArray[np.bool_]


def paragraphs(config: Config, task: ParagraphTask) -> tuple[str, int]:
    """Write a part's paragraphs; their file and how many there are."""
    site = site_of(config)
    name = task.layout.step("paragraphs", task.key, f"{task.part:06d}.npy")
    if not site.store.exists(name):
        least = site.curation.deduplication.paragraphs.min_words
        site.store.write(name, array_bytes(paragraphs_in(site.store, task.layout, task.chunks, task.wanted, least)))
    return name, len(load_array(site.store.read(name)))


@dataclass(frozen=True)
class RepeatTask:
    """Paragraphs whose hash leaves `remainder` modulo `divisor`: what one task holds is bounded by the divisor."""

    layout: Layout
    key: str
    files: list[str]
    remainder: int
    divisor: int


def repeats(config: Config, task: RepeatTask) -> str:
    """Write what occurred before; the name of its file."""
    store = site_of(config).store
    name = task.layout.step("paragraphs", task.key, f"repeats-{task.remainder:04d}-{task.divisor:04d}.npy")
    if not store.exists(name):
        blocks = (load_array(store.read(file)) for file in task.files)
        store.write(name, array_bytes(repeats_among(blocks, task.remainder, task.divisor)))
    return name


def repeats_of(store: Store, file: str) -> Paragraphs:
    """A part's repeats; none of no file."""
    return load_array(store.read(file)) if file else np.zeros(0, dtype=PARAGRAPH)


@dataclass(frozen=True)
class SampleTask:
    """The documents of a part that the tokenizer is trained on."""

    layout: Layout
    key: str
    part: int
    chunks: list[Chunk]
    chosen: NDArray[np.bool_]
    repeats: str


def sampling(config: Config, task: SampleTask) -> str:
    """Write a part's share of the sample; the name of its file."""
    store = site_of(config).store
    name = task.layout.step("sample", task.key, f"{task.part:06d}.parquet")
    if not store.exists(name):
        texts, row, again = [], 0, repeats_of(store, task.repeats)
        for chunk in task.chunks:
            texts += texts_of(store, task.layout, chunk, task.chosen[row : row + chunk.count], again)
            row += chunk.count
        store.write(name, encoded({"text": texts}))
    return name


@dataclass(frozen=True)
class TrainTask:
    """Files of the sample and where the tokenizer goes, or stands."""

    files: list[str]
    name: str


def tokenizer_training(config: Config, task: TrainTask) -> bytes:
    """Train the tokenizer on the sample, write it."""
    site = site_of(config)
    if not site.store.exists(task.name):
        spec = site.curation.tokenizer.train
        texts = (text for file in task.files for text in strings(read_table(site.store, file), "text"))
        tokenizer = train_tokenizer(texts, spec.vocabulary_size, spec.special_tokens)
        site.store.write(task.name, tokenizer.to_str().encode())
    return site.store.read(task.name)


def round_trip(config: Config, task: TrainTask) -> float:
    """Share of some texts from all over the sample that come back from their tokens. `task.name`: the tokenizer."""
    site = site_of(config)
    tokenizer = loaded_tokenizer(site.store.read(task.name))
    files = task.files[:: math.ceil(len(task.files) / ROUND_TRIP_TEXTS) or 1]
    each = math.ceil(ROUND_TRIP_TEXTS / max(1, len(files)))
    texts = [text for file in files for text in strings(read_table(site.store, file), "text")[:each]]
    return round_trip_share(tokenizer, texts, end_of(tokenizer, site.curation))


@dataclass(frozen=True)
class EncodeTask:
    """A part with the split of each of its documents."""

    layout: Layout
    key: str
    part: int
    chunks: list[Chunk]
    splits: NDArray[np.uint8]
    tokenizer: str
    repeats: str


def encoding(config: Config, task: EncodeTask) -> list[Encoded]:
    """Tokens of a part."""
    site = site_of(config)
    tokenizer = loaded_tokenizer(site.store.read(task.tokenizer))
    end = end_of(tokenizer, site.curation)
    again = repeats_of(site.store, task.repeats)
    return encode_part(site.store, task.layout, task.key, task.chunks, task.splits, again, tokenizer, end)


@dataclass(frozen=True)
class ShardJob:
    """A shard of the artifact."""

    layout: Layout
    artifact: str
    task: ShardTask
    dtype: str


def sharding(config: Config, job: ShardJob) -> list[dict[str, object]]:
    """Write a shard."""
    return write_shard(site_of(config).store, job.layout, job.artifact, job.task, job.dtype)


@dataclass(frozen=True)
class ProvenanceTask:
    """A part whose kept documents are told."""

    layout: Layout
    artifact: str
    part: int
    chunks: list[Chunk]
    origins: Origins


def telling_provenance(config: Config, task: ProvenanceTask) -> dict[str, object]:
    """Write the origins of a part's documents; their file's entry in the manifest."""
    store, name = site_of(config).store, f"provenance/{task.part:06d}.parquet"
    data = provenance(store, task.layout, task.chunks, task.origins)
    return write_file(store, task.artifact, name, data)


def write_file(store: Store, artifact: str, name: str, data: bytes) -> dict[str, object]:
    """Write a file of the artifact; its entry in the manifest."""
    store.write(f"{artifact_folder('curation', artifact)}/{name}", data)
    return {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def array_bytes(array: NDArray[Any]) -> bytes:
    """An array as a file."""
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def load_array(data: bytes) -> NDArray[Any]:
    """Back from `array_bytes`."""
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def arrays_bytes(**arrays: NDArray[Any]) -> bytes:
    """Named arrays as a file."""
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    return sink.getvalue()


def load_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Back from `arrays_bytes`."""
    return dict(np.load(io.BytesIO(data), allow_pickle=False))
