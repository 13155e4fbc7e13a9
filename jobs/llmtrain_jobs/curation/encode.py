"""Fifth step, part by part: kept texts to tokens. The tokens of a part depend on it and the tokenizer alone."""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llmtrain.storage.store import Store
from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.dedup.paragraphs import Paragraphs, without
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.tables import read_table, strings
from llmtrain_jobs.curation.tokens import Tokens, dtype_of, encode, returned, table_size

SPLITS = ("train", "validation")
OUT, TRAIN, VALIDATION = 0, 1, 2
ENCODING_CODE = b"2"
"""Raised when other tokens, or other facts about them, are made of the same texts."""


@dataclass(frozen=True)
class Encoded:
    """Of one part and split: documents, tokens and bytes of text; `returned` documents come back from their tokens."""

    split: str
    documents: int
    tokens: int
    bytes: int
    returned: int


def places(key: str, layout: Layout, part: int, split: str) -> tuple[str, str, str]:
    """Files of a part's tokens, of its documents' lengths and of how often each token occurs."""
    names = [layout.step("encoded", key, f"{part:06d}.{split}.{kind}") for kind in ("tokens", "lengths", "counts")]
    return names[0], names[1], names[2]


def part_key(tokenizer: bytes, splits: NDArray[np.uint8], repeats: str) -> str:
    """Of what a part's tokens depend on. `repeats`: key of the repeated paragraphs."""
    return hashlib.sha256(ENCODING_CODE + tokenizer + splits.tobytes() + repeats.encode()).hexdigest()[:16]


def encode_part(
    store: Store,
    layout: Layout,
    key: str,
    chunks: list[Chunk],
    splits: NDArray[np.uint8],
    repeats: Paragraphs,
    tokenizer: Tokenizer,
    end: int,
) -> list[Encoded]:
    """Write a part's tokens; what was written before is found. `splits`: OUT, TRAIN or VALIDATION by document."""
    summary = layout.step("encoded", key, f"{chunks[0].part if chunks else 0:06d}.json")
    if store.exists(summary):
        return [Encoded(**entry) for entry in json.loads(store.read(summary))]
    found = [_encode_split(store, layout, key, chunks, splits, repeats, tokenizer, end, s) for s in (TRAIN, VALIDATION)]
    store.write(summary, json.dumps([asdict(entry) for entry in found]).encode())
    return found


def _encode_split(
    store: Store, layout: Layout, key: str, chunks: list[Chunk], splits: NDArray[np.uint8], repeats: Paragraphs,
    tokenizer: Tokenizer, end: int, wanted: int,
) -> Encoded:  # fmt: skip
    size = table_size(tokenizer)
    arrays: list[Tokens] = []
    lengths = [np.zeros(0, dtype=np.uint32)]
    counts = np.zeros(size, dtype=np.int64)
    text_bytes = row = same = 0
    for chunk in chunks:
        chosen = splits[row : row + chunk.count] == wanted
        row += chunk.count
        texts = texts_of(store, layout, chunk, chosen, repeats)
        tokens, each = encode(tokenizer, texts, dtype_of(size), end)
        arrays.append(tokens)
        lengths.append(each)
        counts += np.bincount(tokens, minlength=size)
        same += returned(tokenizer, texts, tokens, each)
        text_bytes += sum(len(text.encode()) for text in texts)
    joined, all_lengths = b"".join(array.tobytes() for array in arrays), np.concatenate(lengths)
    files = (joined, all_lengths.tobytes(), counts.tobytes())
    for name, data in zip(places(key, layout, chunks[0].part if chunks else 0, SPLITS[wanted - 1]), files, strict=True):
        store.write(name, data)
    return Encoded(SPLITS[wanted - 1], len(all_lengths), int(all_lengths.sum()), text_bytes, same)


def texts_of(store: Store, layout: Layout, chunk: Chunk, chosen: NDArray[np.bool_], repeats: Paragraphs) -> list[str]:
    """The chosen texts of a chunk, without their repeated paragraphs."""
    if not chosen.any():
        return []
    texts = strings(read_table(store, layout.chunk(chunk.part, chunk.index, "text")), "text")
    return [without(texts[row], chunk.first + row, repeats) for row in np.flatnonzero(chosen).tolist()]
