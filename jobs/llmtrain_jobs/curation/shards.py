"""Sixth step: the tokens of each source in order, cut into shards of equal size, with the ends of their documents.

`train/SOURCE/00000.bin` are raw little-endian tokens, to be memory-mapped. `boundaries/train/SOURCE/00000.u64` holds, as 64-bit
little-endian integers, where in that shard each document ends (one past its last token, which is the end of text); a
document that goes on in the next shard ends there. `index.json` lists the shards of both splits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.curation.encode import places
from llmtrain_jobs.curation.layout import Layout

SHARD_TOKENS = 50_000_000


@dataclass(frozen=True)
class PartTokens:
    """Where the tokens of one part and split lie."""

    part: int
    key: str
    tokens: int


@dataclass(frozen=True)
class ShardTask:
    """Tokens [start, stop) of a source's split make its `number`-th shard. `before`: tokens before its first part."""

    split: str
    source: str
    number: int
    start: int
    stop: int
    parts: list[PartTokens]
    before: int


def shard_tasks(split: str, source: str, parts: Sequence[PartTokens], size: int = SHARD_TOKENS) -> list[ShardTask]:
    """One task a shard."""
    ends = np.cumsum([part.tokens for part in parts], dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    tasks = []
    for number, start in enumerate(range(0, total, size)):
        stop = min(start + size, total)
        first, last = int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(ends, stop, side="left"))
        before = int(ends[first - 1]) if first else 0
        tasks.append(ShardTask(split, source, number, start, stop, list(parts[first : last + 1]), before))
    return tasks


def write_shard(store: Store, layout: Layout, artifact: str, task: ShardTask, dtype: str) -> list[dict[str, object]]:
    """Write a shard and its boundaries; their entries in the manifest."""
    blocks, ends, position = [], [], task.before
    width = np.dtype(dtype).itemsize
    for part in task.parts:
        tokens, lengths, _ = places(part.key, layout, part.part, task.split)
        low, high = max(task.start, position), min(task.stop, position + part.tokens)
        blocks.append(read_range(store, tokens, (low - position) * width, (high - low) * width))
        document_ends = np.cumsum(np.frombuffer(store.read(lengths), dtype=np.uint32), dtype=np.int64) + position
        ends.append(document_ends[(document_ends > task.start) & (document_ends <= task.stop)] - task.start)
        position += part.tokens
    boundaries: NDArray[np.uint64] = np.concatenate(ends).astype("<u8")
    folder = artifact_folder("curation", artifact)
    name = f"{task.split}/{task.source}/{task.number:05d}"
    names = (f"{name}.bin", f"boundaries/{name}.u64")
    listed = []
    for name, data in zip(names, (b"".join(blocks), boundaries.tobytes()), strict=True):
        store.write(f"{folder}/{name}", data)
        listed.append({"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return listed


def read_range(store: Store, name: str, start: int, count: int) -> bytes:
    """`count` bytes of a file from `start`."""
    if count <= 0:
        return b""
    with store.open(name) as file:
        file.seek(start)
        return file.read(count)


def index_of(listed: Sequence[dict[str, object]], dtype: str, end: int) -> dict[str, object]:
    """The index of all shards: tokens, documents and hash of each."""
    width, sizes = np.dtype(dtype).itemsize, {str(entry["name"]): int(str(entry["size"])) for entry in listed}
    shards: dict[str, list[dict[str, object]]] = {}
    for entry in listed:
        name = str(entry["name"])
        if name.endswith(".bin"):
            split, source, number = name.removesuffix(".bin").split("/")
            boundaries = f"boundaries/{split}/{source}/{number}.u64"
            shards.setdefault(split, []).append({
                "file": name, "source": source, "tokens": sizes[name] // width, "boundaries": boundaries,
                "documentsEnding": sizes[boundaries] // 8, "sha256": entry["sha256"],
            })  # fmt: skip
    return {"version": 1, "dtype": dtype, "endOfText": end, "splits": shards}
